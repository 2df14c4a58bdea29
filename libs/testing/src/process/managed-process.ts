import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync } from 'node:fs';
import { LaunchError } from '../errors.js';
import { holdOn } from './lifeline.js';
import { openLog, tailLog } from './log-file.js';
import { removeRunRecord, writeRunRecord } from './run-record.js';

/** How a process ended: exactly one of the two is set. */
export interface ProcessExit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** What to run and how to end it. */
export interface ManagedProcessOptions {
  /** Shown in errors. */
  name: string;
  command: string;
  args?: readonly string[];
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Run as this user (needs root). */
  user?: { uid: number; gid: number };
  /** Both output streams are appended here. */
  logFile: string;
  /** Where to note the process, so that the next start finds it if we are killed. */
  recordFile?: string;
  /** How the process likes to be asked to stop. Default SIGTERM. */
  stopSignal?: NodeJS.Signals;
  /** After this many ms without an exit comes SIGKILL. Default 10,000. */
  stopTimeoutMs?: number;
}

/**
 * A child process that writes to a log file, that Ctrl-C in the terminal does not reach (it has its own session, so the
 * order of shutdown is ours to choose), and that dies with this process.
 */
export class ManagedProcess {
  readonly pid: number;
  /** Resolves when the process has ended, for whatever reason; never rejects. */
  readonly exited: Promise<ProcessExit>;
  /** Set once the process has ended. */
  exit: ProcessExit | undefined;
  #stopping: Promise<ProcessExit> | undefined;

  private constructor(
    private readonly child: ChildProcess,
    private readonly options: ManagedProcessOptions,
    private readonly logStart: number,
  ) {
    this.pid = child.pid ?? -1;
    this.exited = once(child, 'exit').then(([code, signal]) => {
      this.exit = { code, signal };
      if (options.recordFile !== undefined) removeRunRecord(options.recordFile, this.pid);
      return this.exit;
    });
  }

  /** Starts the process. @throws LaunchError `start-failed` when it cannot even be spawned. */
  static async spawn(options: ManagedProcessOptions): Promise<ManagedProcess> {
    const log = openLog(options.logFile);
    const logStart = fstatSync(log).size;
    try {
      const child = spawn(options.command, [...(options.args ?? [])], {
        cwd: options.cwd,
        env: options.env,
        detached: true,
        windowsHide: true,
        stdio: ['ignore', log, log],
        ...options.user,
      });
      await once(child, 'spawn');
      holdOn(child, options.stopSignal ?? 'SIGTERM');
      const managed = new ManagedProcess(child, options, logStart);
      if (options.recordFile !== undefined) writeRunRecord(options.recordFile, managed.pid);
      return managed;
    } catch (cause) {
      throw new LaunchError('start-failed', `${options.name} could not be started from ${options.command}.`, { cause });
    } finally {
      closeSync(log);
    }
  }

  get running(): boolean {
    return this.exit === undefined;
  }

  /** Sends a signal as it is. A process that has already ended is left alone. */
  kill(signal: NodeJS.Signals): void {
    if (this.running) this.child.kill(signal);
  }

  /** Asks the process to stop, insists after the deadline, and resolves when it is gone. May be called any number of times. */
  stop(): Promise<ProcessExit> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<ProcessExit> {
    this.kill(this.options.stopSignal ?? 'SIGTERM');
    const deadline = setTimeout(() => this.kill('SIGKILL'), this.options.stopTimeoutMs ?? 10_000);
    try {
      return await this.exited;
    } finally {
      clearTimeout(deadline);
    }
  }

  /** The last lines that this run (not an earlier one) wrote to its log. */
  tail(lines = 10): string[] {
    return tailLog(this.options.logFile, lines, this.logStart);
  }
}

/** "exit code 1" or "signal SIGKILL". */
export function describeExit(exit: ProcessExit): string {
  return exit.signal === null ? `exit code ${exit.code}` : `signal ${exit.signal}`;
}
