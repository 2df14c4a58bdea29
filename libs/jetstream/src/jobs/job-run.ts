import { JetlaneError } from '@jetlane/protocol';
import type { Connection } from '../connection.js';
import type { Job, JobStore, JobVersion, StoredJob } from './job-store.js';

/** Where jobs tell of their begin, end and failures; a pino logger fits. */
export interface JobLog {
  /** A job began or ended. @param event as in `dead-letters:job-ended` */
  info(facts: object, event: string): void;
  /** A job failed, or its progress could not be written. */
  warn(facts: object, event: string): void;
}

/** What a job does. */
export interface JobWork<J extends Job> {
  /**
   * Works until all is done and {@link JobRun.end} was called, or until `run.going` is false. It must be fit to be begun again, by
   * another process, from whatever it has written into the job.
   */
  readonly work: (run: JobRun<J>) => Promise<void>;
  /** What is added to the job whenever it is written, such as how much is left. */
  readonly measure?: (job: J) => Promise<Partial<J>>;
  /** What the log tells of it. */
  readonly facts: (job: J) => object;
}

export interface JobRunOptions<J extends Job> extends JobWork<J> {
  /** Name of this process. */
  readonly runner: string;
  /** First part of the names of its events in the log: `dead-letters` gives `dead-letters:job-ended`. */
  readonly noun: string;
  readonly log: JobLog;
  /** How often progress is written, in ms. Default 1,000. */
  readonly saveMs?: number;
}

const SLICE_MS = 200;
/** Repetitions of what may pass by itself, each after a longer pause; together about half a minute. */
const RETRIES_MS = [100, 500, 1000, 2000, 4000, 8000, 16_000];

/**
 * One process's run of a job. Its progress is stored once a second by compare-and-set: whoever loses that either was told to cancel,
 * or has been taken for dead and replaced.
 *
 * Crash at any moment: the job is stored with what was dealt with up to a second ago; another process goes on from there, so what the
 * work does once more must be harmless. Tests: dead-letter-takeover.spec, steer-takeover.spec.
 */
export class JobRun<J extends Job> {
  private current: StoredJob<J>;
  private revision: number;
  private savedAt = performance.now();
  private saving: Promise<void> | undefined;
  private stopped = false;
  private replaced = false;

  constructor(
    private readonly connection: Connection,
    private readonly store: JobStore<J>,
    { job, revision }: JobVersion<J>,
    private readonly options: JobRunOptions<J>,
  ) {
    this.current = job;
    this.revision = revision;
  }

  /** The job as it is now; stored within a second. */
  get job(): J {
    return this.current;
  }

  /** False when the work must leave off: it has ended, or was cancelled, or another process does it. */
  get going(): boolean {
    return !this.stopped && !this.replaced && this.current.state === 'running' && !this.current.cancelRequested;
  }

  /** Leaves the job, after what is in hand, to another process. */
  stop(): void {
    this.stopped = true;
  }

  /** Resolves when the job has ended, or is somebody else's. Never throws. */
  async run(): Promise<void> {
    const beat = setInterval(() => void this.saveIfDue(), this.options.saveMs ?? 1000);
    try {
      await this.options.work(this);
      if (this.current.state === 'running' && this.current.cancelRequested) this.end('cancelled');
    } catch (error) {
      this.warn('job-failed', error);
      this.end('failed', error);
    }
    clearInterval(beat);
    await this.saveLast();
  }

  /** Notes progress. */
  set(progress: Partial<J>): void {
    this.current = { ...this.current, ...progress };
  }

  /** Ends the job; stored when the work returns. @param error why it failed: its message is kept, and its code where it is a JetlaneError */
  end(state: Job['state'], error?: unknown): void {
    const code = error instanceof JetlaneError ? error.code : 'internal';
    this.current = { ...this.current, state, ...(error === undefined ? {} : { error: { code, message: messageOf(error) } }) };
  }

  /** Tries again what may pass by itself; a full lane is not waited for. */
  async retry<T>(call: () => Promise<T>): Promise<T> {
    for (let tries = 0; ; tries++) {
      try {
        return await call();
      } catch (error) {
        const passing = error instanceof JetlaneError && error.retryable && error.code !== 'queue-full';
        if (!passing || tries >= RETRIES_MS.length || !this.going) throw error;
        await this.connection.whenConnected();
        await this.wait(RETRIES_MS[tries]!);
      }
    }
  }

  /** Ends early when the job does. */
  async wait(ms: number): Promise<void> {
    for (let left = ms; left > 0 && this.going; left -= SLICE_MS) await pause(Math.min(left, SLICE_MS));
  }

  /** Writes the progress once a second. A failure to write is not one of the job: the next second tries again. */
  async saveIfDue(): Promise<void> {
    if (this.saving || performance.now() - this.savedAt < (this.options.saveMs ?? 1000)) return;
    this.saving = this.save()
      .catch((error: unknown) => this.warn('job-not-saved', error))
      .finally(() => {
        this.saving = undefined;
      });
    await this.saving;
  }

  private async saveLast(): Promise<void> {
    await this.saving;
    await this.retry(() => this.save()).catch((error: unknown) => this.warn('job-not-saved', error));
    const { id, state } = this.current;
    const { log, noun, facts } = this.options;
    if (state !== 'running') log.info({ job: id, state, ...facts(this.current) }, `${noun}:job-ended`);
  }

  private async save(): Promise<void> {
    const measured = await this.options.measure?.(this.current);
    while (!this.replaced) {
      const runner = this.stopped || this.current.state !== 'running' ? undefined : this.options.runner;
      this.current = { ...this.current, ...measured, runner, updatedAt: Date.now() };
      const revision = await this.store.update(this.current, this.revision);
      this.savedAt = performance.now();
      if (revision !== undefined) {
        this.revision = revision;
        return;
      }
      await this.reread();
    }
  }

  private async reread(): Promise<void> {
    const found = await this.store.get(this.current.id);
    this.replaced = found?.job.runner !== this.options.runner || found.job.state !== 'running';
    if (!found || this.replaced) return;
    this.revision = found.revision;
    if (found.job.cancelRequested) this.current = { ...this.current, cancelRequested: true };
  }

  private warn(event: string, error: unknown): void {
    this.options.log.warn({ job: this.current.id, error: messageOf(error) }, `${this.options.noun}:${event}`);
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
