import { existsSync, readFileSync, rmSync } from 'node:fs';
import { chmod, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { LaunchError } from '../errors.js';
import { describeExit, ManagedProcess, type ProcessExit } from '../process/managed-process.js';
import { assertPortsFree, freePort } from '../process/ports.js';
import { commandLineOf, pidExists, reclaimRun, stopProcess } from '../process/run-record.js';
import { waitUntil } from '../process/wait-until.js';
import { findPostgres, type PostgresBinaries, programPath } from './binaries.js';
import {
  adoptData,
  type ClusterFiles,
  createCluster,
  dataVersion,
  deleteClusterFiles,
  environment,
  idsOf,
  openClusterFiles,
  ROLE,
  readPassword,
  resetPassword,
} from './cluster-files.js';
import { reachableBinaries, serverUser } from './server-user.js';

const HOST = '127.0.0.1';
const START_TIMEOUT_MS = 30_000;

/** How to run an embedded PostgreSQL. Everything has a default: a throw-away server on a random port. */
export interface PostgresOptions {
  /** Where the data lies; a second start finds it again. Undefined (default): a temporary folder, deleted by `stop()`. */
  dataDir?: string;
  /** 0 (default): any free port. */
  port?: number;
  /** False: no fsync, for tests. Default: true with a `dataDir`, false without. */
  durable?: boolean;
  /** Default `<dataDir>/postgres.log`. */
  logFile?: string;
  /** Told what is going on when it takes long (the first start of a data folder). */
  log?: (line: string) => void;
}

/** Starts a PostgreSQL and resolves when it takes connections. It ends with this process at the latest. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const throwAway = options.dataDir === undefined;
  const dir = options.dataDir === undefined ? await temporaryDir() : resolve(options.dataDir);
  const port = options.port || (await freePort());
  try {
    const server = new PostgresServer({ durable: !throwAway, ...options, dir, port, throwAway });
    await server.start();
    return server;
  } catch (error) {
    if (throwAway) deleteClusterFiles(dir);
    throw error;
  }
}

/** A running PostgreSQL. States: running → stopped (by `stop`, `kill` or its own death) → running (by `start`). */
export class PostgresServer {
  readonly port: number;
  readonly dataDir: string;
  readonly logFile: string;
  #url = '';
  #version = '';
  #process: ManagedProcess | undefined;

  /** Use {@link startPostgres}. */
  constructor(private readonly options: PostgresOptions & { dir: string; port: number; throwAway: boolean }) {
    this.port = options.port;
    this.dataDir = options.dir;
    this.logFile = options.logFile ?? join(options.dir, 'postgres.log');
  }

  /** Complete with user and password: what DATABASE_URL takes. */
  get url(): string {
    return this.#url;
  }

  /** E.g. `18.4`. */
  get version(): string {
    return this.#version;
  }

  /** Undefined while it does not run. */
  get pid(): number | undefined {
    return this.#process?.running ? this.#process.pid : undefined;
  }

  /** Resolves when the process of the present run has ended. */
  get exited(): Promise<ProcessExit> {
    if (this.#process === undefined) throw new Error('PostgreSQL has not been started');
    return this.#process.exited;
  }

  /** Starts again on the same port with the same data, after `stop` (of a server with a `dataDir`), `kill` or a crash. */
  async start(): Promise<void> {
    if (this.#process?.running) return;
    const user = serverUser();
    const files = openClusterFiles(this.dataDir, user);
    await this.#endLeftovers(files);
    await assertPortsFree([{ name: 'PostgreSQL', port: this.port, env: 'POSTGRES_PORT' }]);
    const found = await findPostgres(dataVersion(files));
    const binaries = user === undefined ? found : reachableBinaries(found, user);
    await this.#prepare(files, binaries);
    this.#version = binaries.version;
    this.#url = `postgres://${ROLE}:${readPassword(files)}@${HOST}:${this.port}/${ROLE}`;
    this.#process = await this.#spawn(files, binaries);
    await this.#ready(this.#process, files);
  }

  /** Sends a signal, as a chaos test does. `await server.exited` tells when it is gone. */
  kill(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  /** Ends sessions, writes a checkpoint, stops; and deletes the data of a throw-away server. */
  async stop(): Promise<void> {
    await this.#process?.stop();
    if (this.options.throwAway) deleteClusterFiles(this.dataDir);
  }

  /** Stop (or wait for the death that a signal began), then start. */
  async restart(): Promise<void> {
    await this.#process?.stop();
    await this.start();
  }

  async #prepare(files: ClusterFiles, binaries: PostgresBinaries): Promise<void> {
    if (dataVersion(files) === undefined) {
      this.options.log?.(`Creating the database (PostgreSQL ${binaries.version})`);
      return createCluster(files, binaries, this.options.durable ?? true);
    }
    adoptData(files);
    if (!existsSync(join(files.dir, 'password'))) await resetPassword(files, binaries);
  }

  /**
   * A server that outlived a killed owner is stopped. A `postmaster.pid` whose pid now belongs to some other program would
   * make PostgreSQL refuse to start (it only looks whether the pid exists), so it is removed.
   */
  async #endLeftovers(files: ClusterFiles): Promise<void> {
    await reclaimRun(this.#recordFile, 'The embedded PostgreSQL', 'SIGINT');
    const lock = readLock(files);
    if (lock === undefined || !pidExists(lock.pid)) return;
    if (commandLineOf(lock.pid).includes(files.data)) await stopProcess(lock.pid, 'SIGINT');
    else rmSync(join(files.data, 'postmaster.pid'), { force: true });
  }

  get #recordFile(): string {
    return join(this.dataDir, 'run.json');
  }

  #spawn(files: ClusterFiles, binaries: PostgresBinaries): Promise<ManagedProcess> {
    const settings = [`listen_addresses=${HOST}`, `port=${this.port}`, 'unix_socket_directories=', 'log_timezone=UTC', 'timezone=UTC'];
    if (this.options.durable === false) settings.push('fsync=off', 'synchronous_commit=off', 'full_page_writes=off');
    return ManagedProcess.spawn({
      name: 'PostgreSQL',
      command: programPath(binaries, 'postgres'),
      args: ['-D', files.data, ...settings.flatMap((setting) => ['-c', setting])],
      cwd: '/',
      env: environment(),
      user: idsOf(files.user),
      logFile: this.logFile,
      recordFile: this.#recordFile,
      // "Fast" shutdown: open transactions are rolled back, nobody is waited for.
      stopSignal: 'SIGINT',
      stopTimeoutMs: 20_000,
    });
  }

  async #ready(running: ManagedProcess, files: ClusterFiles): Promise<void> {
    const isReady = () => {
      const lock = readLock(files);
      return !running.running || (lock?.pid === running.pid && lock.status === 'ready');
    };
    const ready = await waitUntil(isReady, { timeoutMs: START_TIMEOUT_MS });
    if (ready && running.running) return;
    const why = running.exit === undefined ? `not ready within ${START_TIMEOUT_MS / 1_000} s` : describeExit(running.exit);
    const lines = running.tail(8);
    await running.stop();
    const telling = lines.find((line) => line.includes('FATAL')) ?? lines.at(-1) ?? 'it said nothing';
    const message = `PostgreSQL did not start (${why}): ${telling} See ${this.logFile}, or set DATABASE_URL to a database that runs already.`;
    throw new LaunchError('start-failed', message, { details: { port: this.port, lines } });
  }
}

/** As root the server runs as another user, who must be able to enter the folder. */
async function temporaryDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'jetlane-postgres-'));
  await chmod(dir, 0o711);
  return dir;
}

/** postmaster.pid: line 1 is the pid, line 8 the status (storage.sgml, "Database File Layout"; miscadmin.h). */
function readLock(files: ClusterFiles): { pid: number; status: string } | undefined {
  try {
    const lines = readFileSync(join(files.data, 'postmaster.pid'), 'utf8').split('\n');
    const pid = Number(lines[0]);
    return Number.isInteger(pid) && pid > 0 ? { pid, status: (lines[7] ?? '').trim() } : undefined;
  } catch {
    return undefined;
  }
}
