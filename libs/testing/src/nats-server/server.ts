import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { LaunchError } from '../errors.js';
import { describeExit, ManagedProcess, type ProcessExit } from '../process/managed-process.js';
import { assertPortsFree, freePorts } from '../process/ports.js';
import { reclaimRun } from '../process/run-record.js';
import { waitUntil } from '../process/wait-until.js';
import { type NatsConfig, renderNatsConfig } from './config-file.js';
import { readServerInfo } from './probe.js';
import { type NatsServerBinary, type ResolveOptions, resolveNatsServer } from './resolve.js';

const HOST = '127.0.0.1';
const START_TIMEOUT_MS = 20_000;

/** How to run a nats-server. Everything has a default: a throw-away server on a random port. */
export interface NatsServerOptions extends Pick<NatsConfig, 'cluster' | 'extra'> {
  /** 0 (default): any free port. */
  port?: number;
  /** HTTP monitoring; 0: any free port; undefined (default): none. */
  monitorPort?: number;
  /** Where messages, configuration and log lie. Undefined (default): a temporary folder, deleted by `stop()`. */
  storeDir?: string;
  /** Default `jetlane`. Must differ between the nodes of a cluster. */
  name?: string;
  /** Default `<storeDir>/nats-server.log`. */
  logFile?: string;
  /** Default: found, or fetched, by `resolveNatsServer`. */
  binary?: string;
  /** How to find the binary when it is not given. */
  resolve?: ResolveOptions;
}

let resolved: Promise<NatsServerBinary> | undefined;

/** Starts a nats-server with JetStream and resolves when it takes connections. It ends with this process at the latest. */
export async function startNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  const binary = options.binary ?? (await resolveOnce(options.resolve)).path;
  // A port that was free a moment ago may be gone: with a random one, try again.
  const tries = options.port ? 1 : 3;
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(binary, options);
    } catch (error) {
      const portLost = error instanceof LaunchError && (error.code === 'port-taken' || error.message.includes('address already in use'));
      if (!portLost || attempt === tries) throw error;
    }
  }
}

async function startOnce(binary: string, options: NatsServerOptions): Promise<NatsServer> {
  const { storeDir } = options;
  const throwAway = storeDir === undefined;
  const dir = storeDir === undefined ? await mkdtemp(join(tmpdir(), 'jetlane-nats-')) : resolve(storeDir);
  try {
    const server = new NatsServer(binary, { ...options, ...(await choosePorts(options)), dir, throwAway });
    await server.start();
    return server;
  } catch (error) {
    if (throwAway) await rm(dir, { recursive: true, force: true });
    throw error;
  }
}

/** A running nats-server. States: running → stopped (by `stop`, `kill` or its own death) → running (by `start`). */
export class NatsServer {
  readonly port: number;
  readonly url: string;
  readonly name: string;
  /** Base of the HTTP monitoring, when there is one. */
  readonly monitorUrl: string | undefined;
  readonly storeDir: string;
  readonly logFile: string;
  #process: ManagedProcess | undefined;

  /** Use {@link startNatsServer}. */
  constructor(
    private readonly binary: string,
    private readonly options: NatsServerOptions & { port: number; dir: string; throwAway: boolean },
  ) {
    this.port = options.port;
    this.url = `nats://${HOST}:${options.port}`;
    this.name = options.name ?? 'jetlane';
    this.monitorUrl = options.monitorPort === undefined ? undefined : `http://${HOST}:${options.monitorPort}`;
    this.storeDir = options.dir;
    this.logFile = options.logFile ?? join(options.dir, 'nats-server.log');
  }

  /** Undefined while it does not run. */
  get pid(): number | undefined {
    return this.#process?.running ? this.#process.pid : undefined;
  }

  /** Resolves when the process of the present run has ended. */
  get exited(): Promise<ProcessExit> {
    if (this.#process === undefined) throw new Error('nats-server has not been started');
    return this.#process.exited;
  }

  /** Starts again on the same ports with the same data, after `stop` (of a server with a `storeDir`), `kill` or a crash. */
  async start(): Promise<void> {
    if (this.#process?.running) return;
    const recordFile = join(this.storeDir, 'run.json');
    await mkdir(this.storeDir, { recursive: true });
    await reclaimRun(recordFile, 'nats-server');
    await assertPortsFree([{ name: 'nats-server', port: this.port, env: 'NATS_PORT' }]);
    const config = join(this.storeDir, 'nats-server.conf');
    await writeFile(config, renderNatsConfig({ ...this.options, host: HOST, name: this.name, storeDir: this.storeDir }));
    const args = ['--config', config];
    this.#process = await ManagedProcess.spawn({ name: 'nats-server', command: this.binary, args, logFile: this.logFile, recordFile });
    await this.#ready(this.#process);
  }

  /** Sends a signal, as a chaos test does. `await server.exited` tells when it is gone. */
  kill(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  /** Stops it and, when it was a throw-away server, deletes its data. */
  async stop(): Promise<void> {
    await this.#process?.stop();
    if (this.options.throwAway) await rm(this.storeDir, { recursive: true, force: true });
  }

  /** Stop (or wait for the death that a signal began), then start. */
  async restart(): Promise<void> {
    await this.#process?.stop();
    await this.start();
  }

  async #ready(running: ManagedProcess): Promise<void> {
    const ready = await waitUntil(() => !running.running || this.#answers(), { timeoutMs: START_TIMEOUT_MS, everyMs: 5 });
    if (ready && running.running) return;
    const why = running.exit === undefined ? `no answer within ${START_TIMEOUT_MS / 1_000} s` : describeExit(running.exit);
    const lines = running.tail(5);
    await running.stop();
    const message = `nats-server did not start (${why}): ${lines.at(-1) ?? 'it said nothing'}. See ${this.logFile}.`;
    throw new LaunchError('start-failed', message, { details: { port: this.port, lines } });
  }

  async #answers(): Promise<boolean> {
    try {
      return (await readServerInfo(HOST, this.port, 500)).jetstream;
    } catch {
      return false;
    }
  }
}

async function choosePorts(options: NatsServerOptions): Promise<{ port: number; monitorPort: number | undefined }> {
  const [port, monitorPort] = (await freePorts(2)) as [number, number];
  return { port: options.port || port, monitorPort: options.monitorPort === 0 ? monitorPort : options.monitorPort };
}

/** Asking a binary for its version takes 30 ms: once per process is enough. A failure is not remembered. */
function resolveOnce(options: ResolveOptions | undefined): Promise<NatsServerBinary> {
  if (options !== undefined) return resolveNatsServer(options);
  resolved ??= resolveNatsServer().catch((error: unknown) => {
    resolved = undefined;
    throw error;
  });
  return resolved;
}
