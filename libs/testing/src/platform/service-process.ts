import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { LaunchError } from '../errors.js';
import { describeExit, ManagedProcess, type ProcessExit } from '../process/managed-process.js';
import { reclaimRun } from '../process/run-record.js';
import { statusOf } from '../process/status-of.js';
import { waitUntil } from '../process/wait-until.js';
import type { PlatformListener } from './events.js';
import type { ServiceSpec } from './services.js';
import { type Restartable, Supervisor } from './supervisor.js';

const READY_TIMEOUT_MS = 60_000;
/** Longer than the drain of the worker host, so that SIGKILL stays the exception. */
const STOP_TIMEOUT_MS = 30_000;

/** What one service process needs to know. */
export interface ServiceProcessOptions {
  spec: ServiceSpec;
  /** `worker`, and `worker-2` for its second replica. */
  name: string;
  port: number;
  /** Where its HTTP server can be reached. */
  host: string;
  /** Project root. */
  root: string;
  env: NodeJS.ProcessEnv;
  logFile: string;
  recordFile: string;
  emit: PlatformListener;
  /** Start it again when it dies. */
  restart: boolean;
}

/** A service of a running platform: kill it, stop it, start it, as a test likes. */
export class ServiceProcess implements Restartable {
  readonly name: string;
  readonly port: number;
  readonly url: string;
  readonly logFile: string;
  #process: ManagedProcess | undefined;
  readonly #supervisor: Supervisor;

  constructor(private readonly options: ServiceProcessOptions) {
    this.name = options.name;
    this.port = options.port;
    const { JETLANE_TLS_CERT, JETLANE_TLS_KEY } = options.env;
    const scheme = options.spec.tls && JETLANE_TLS_CERT && JETLANE_TLS_KEY ? 'https' : 'http';
    this.url = `${scheme}://${options.host.includes(':') ? `[${options.host}]` : options.host}:${options.port}`;
    this.logFile = options.logFile;
    this.#supervisor = new Supervisor(this, options.emit, options.restart);
  }

  /** Undefined while it does not run. */
  get pid(): number | undefined {
    return this.#process?.running ? this.#process.pid : undefined;
  }

  /** How often it was started again after a death that nobody asked for. */
  get restarts(): number {
    return this.#supervisor.restarts;
  }

  /** Resolves when the process of the present run has ended. */
  get exited(): Promise<ProcessExit> {
    if (this.#process === undefined) throw new Error(`${this.name} has not been started`);
    return this.#process.exited;
  }

  /** Starts it and resolves when `/health/ready` says 200. @throws LaunchError `start-failed`, `start-timeout`, `not-built` */
  async start(): Promise<void> {
    if (this.#process?.running) return;
    const { spec, root, env, logFile, recordFile, name } = this.options;
    const entry = join(root, spec.entry);
    if (!existsSync(entry)) throw new LaunchError('not-built', `${spec.entry} does not exist. Run "npm run build" first.`);
    const before = performance.now();
    await reclaimRun(recordFile, name);
    const args = [entry];
    const stopTimeoutMs = STOP_TIMEOUT_MS;
    this.#process = await ManagedProcess.spawn({
      name,
      command: process.execPath,
      args,
      cwd: root,
      env,
      logFile,
      recordFile,
      stopTimeoutMs,
    });
    await this.#ready(this.#process);
    this.#supervisor.watch();
    const { restarts } = this;
    this.options.emit({ type: 'service:ready', name, pid: this.#process.pid, tookMs: performance.now() - before, restarts });
  }

  /** Sends a signal. A platform that restarts its services starts it again when it dies of it. */
  kill(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  /** Stops it, gracefully, for good: until `start`. */
  async stop(): Promise<void> {
    const settled = this.#supervisor.release();
    await this.#process?.stop();
    // A restart that was under way may have started a new one just now.
    await settled;
    await this.#process?.stop();
  }

  /** Stop, then start. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  tail(): readonly string[] {
    return this.#process?.tail(8) ?? [];
  }

  /** Asks `/health/ready` once. */
  async isReady(): Promise<boolean> {
    return (await statusOf(`${this.url}/health/ready`)) === 200;
  }

  async #ready(running: ManagedProcess): Promise<void> {
    const look = async () => !running.running || (await this.isReady());
    const ready = await waitUntil(look, { timeoutMs: READY_TIMEOUT_MS, everyMs: 50 });
    if (ready && running.running) return;
    const { exit } = running;
    const lines = running.tail(8);
    await running.stop();
    const said = lines.length === 0 ? ' It printed nothing.' : ` It printed last:\n${lines.map((line) => `    ${line}`).join('\n')}`;
    const how = exit === undefined ? `not ready within ${READY_TIMEOUT_MS / 1_000} s` : describeExit(exit);
    const code = exit === undefined ? 'start-timeout' : 'start-failed';
    const details = { name: this.name, how, logFile: this.logFile, lines };
    throw new LaunchError(code, `${this.name} did not start (${how}). See ${this.logFile}.${said}`, { details });
  }
}
