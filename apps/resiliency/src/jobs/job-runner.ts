import { type Connection, countDeadLetters, isCountable, type StoredMessage, scanDeadLetters, viewDeadLetter } from '@jetlane/jetstream';
import { type Count, type DeadLetter, JetlaneError } from '@jetlane/protocol';
import type { JobStore, JobVersion, StoredJob } from './job-store.js';
import { Pace } from './pace.js';

/** What became of one dead letter of a job. */
export type LetterFate = 'moved' | 'skipped';

export interface JobRunnerOptions {
  /** Name of this process. */
  readonly runner: string;
  /** Deals with one dead letter. What it throws counts as a failure, but for a full lane, which stops the job. */
  readonly act: (job: StoredJob, letter: DeadLetter) => Promise<LetterFate>;
  readonly log: { info(facts: object, event: string): void; warn(facts: object, event: string): void };
  /** How often progress is written, in ms. Default 1,000. */
  readonly saveMs?: number;
}

const PAGE = 500;
const SLICE_MS = 200;
const MOST_FAILURES = 20;
/** Repetitions of what may pass by itself, each after a longer pause; together about half a minute. */
const RETRIES_MS = [100, 500, 1000, 2000, 4000, 8000, 16_000];

/**
 * Runs one job. Its progress is stored once a second by compare-and-set: whoever loses that either was told to cancel, or
 * has been taken for dead and replaced.
 *
 * Crash at any moment: the job is stored with a cursor behind which all is dealt with; another process goes on from there. What
 * it does once more is harmless: a dead letter that was moved is gone, or is found to be moved (`DeadLetterMover`).
 * Test: dead-letter-takeover.spec.
 */
export class JobRunner {
  private job: StoredJob;
  private revision: number;
  private readonly pace: Pace;
  private savedAt = performance.now();
  /** Found and not dealt with yet. */
  private known = 0;
  private saving: Promise<void> | undefined;
  private stopped = false;
  private replaced = false;

  constructor(
    private readonly connection: Connection,
    private readonly store: JobStore,
    { job, revision }: JobVersion,
    private readonly options: JobRunnerOptions,
  ) {
    this.job = job;
    this.revision = revision;
    this.pace = new Pace(job.rate);
  }

  /** Leaves the job, after what is in hand, to another process. */
  stop(): void {
    this.stopped = true;
  }

  /** Resolves when the job has ended, or is somebody else's. Never throws. */
  async run(): Promise<void> {
    const beat = setInterval(() => void this.saveIfDue(), this.options.saveMs ?? 1000);
    try {
      await this.pages();
    } catch (error) {
      this.options.log.warn({ job: this.job.id, error: messageOf(error) }, 'dead-letters:job-failed');
      this.end('failed', error);
    }
    clearInterval(beat);
    await this.saveLast();
  }

  private get going(): boolean {
    return !this.stopped && !this.replaced && this.job.state === 'running' && !this.job.cancelRequested;
  }

  private async pages(): Promise<void> {
    while (this.going) {
      const { filter, cursor: after, until } = this.job;
      const page = await this.retry(() => scanDeadLetters(this.connection, filter, { after, until, limit: PAGE }));
      for (let from = 0; from < page.letters.length && this.going; from += this.pace.chunk) {
        this.known = page.letters.length - from;
        await this.chunk(page.letters.slice(from, from + this.pace.chunk));
      }
      if (!this.going) break;
      this.known = 0;
      if (page.next === undefined) this.end('completed');
      else this.job = { ...this.job, cursor: page.next };
    }
    if (this.job.state === 'running' && this.job.cancelRequested) this.end('cancelled');
  }

  /** The cursor moves over a chunk when all of it is dealt with; a full lane leaves it before the first that found no room. */
  private async chunk(messages: readonly StoredMessage[]): Promise<void> {
    await this.wait(this.pace.next(messages.length));
    if (!this.going) return;
    const letters = messages.map((message) => viewDeadLetter(this.connection.names, message));
    const results = await Promise.all(letters.map((letter) => this.attempt(letter)));
    const full = results.findIndex((result) => isFull(result));
    for (const [i, result] of results.entries()) this.note(letters[i]!, result);
    const cursor = full < 0 ? letters.at(-1)!.sequence : letters[full]!.sequence - 1;
    this.job = { ...this.job, cursor };
    this.known -= full < 0 ? letters.length : full;
    if (full >= 0) this.end('stopped', results[full]);
    await this.saveIfDue();
  }

  private attempt(letter: DeadLetter): Promise<LetterFate | JetlaneError> {
    return this.retry(() => this.options.act(this.job, letter)).catch((error: unknown) =>
      error instanceof JetlaneError ? error : new JetlaneError('internal', messageOf(error), { cause: error }),
    );
  }

  private note({ id }: DeadLetter, result: LetterFate | JetlaneError): void {
    if (isFull(result)) return;
    if (typeof result === 'string') {
      this.job = { ...this.job, [result]: this.job[result] + 1 };
      return;
    }
    const { code, message } = result;
    this.options.log.warn({ job: this.job.id, id, code, error: message }, 'dead-letters:not-moved');
    const failures = this.job.failures.length < MOST_FAILURES ? [...this.job.failures, { id, code, message }] : this.job.failures;
    this.job = { ...this.job, failed: this.job.failed + 1, failures };
  }

  /** What may pass by itself is tried again; a full lane is not waited for. */
  private async retry<T>(call: () => Promise<T>): Promise<T> {
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
  private async wait(ms: number): Promise<void> {
    for (let left = ms; left > 0 && this.going; left -= SLICE_MS) await pause(Math.min(left, SLICE_MS));
  }

  private end(state: StoredJob['state'], error?: unknown): void {
    const why =
      error === undefined ? {} : { error: { code: error instanceof JetlaneError ? error.code : 'internal', message: messageOf(error) } };
    this.job = { ...this.job, state, ...why };
  }

  private async left(): Promise<Count> {
    const { filter, cursor, until, state } = this.job;
    if (state === 'completed') return { count: 0, exact: true };
    if (!isCountable(filter)) return { count: this.known, exact: false };
    return { count: await countDeadLetters(this.connection, filter, cursor + 1, until), exact: true };
  }

  /** Writes the progress once a second. A failure to write is not one of the job: the next second tries again. */
  private async saveIfDue(): Promise<void> {
    if (this.saving || performance.now() - this.savedAt < (this.options.saveMs ?? 1000)) return;
    this.saving = this.save()
      .catch((error: unknown) => this.options.log.warn({ job: this.job.id, error: messageOf(error) }, 'dead-letters:job-not-saved'))
      .finally(() => {
        this.saving = undefined;
      });
    await this.saving;
  }

  private async saveLast(): Promise<void> {
    await this.saving;
    await this.retry(() => this.save()).catch((error: unknown) =>
      this.options.log.warn({ job: this.job.id, error: messageOf(error) }, 'dead-letters:job-not-saved'),
    );
    const { id, kind, state, moved, skipped, failed, cursor, by } = this.job;
    if (state !== 'running') this.options.log.info({ job: id, kind, state, moved, skipped, failed, cursor, by }, 'dead-letters:job-ended');
  }

  private async save(): Promise<void> {
    const left = await this.left();
    while (!this.replaced) {
      const runner = this.stopped || this.job.state !== 'running' ? undefined : this.options.runner;
      this.job = { ...this.job, left, runner, updatedAt: Date.now() };
      const revision = await this.store.update(this.job, this.revision);
      this.savedAt = performance.now();
      if (revision !== undefined) {
        this.revision = revision;
        return;
      }
      await this.reread();
    }
  }

  private async reread(): Promise<void> {
    const found = await this.store.get(this.job.id);
    this.replaced = found?.job.runner !== this.options.runner || found.job.state !== 'running';
    if (!found || this.replaced) return;
    this.revision = found.revision;
    this.job = { ...this.job, ...(found.job.cancelRequested ? { cancelRequested: true } : {}) };
  }
}

const isFull = (result: LetterFate | JetlaneError): boolean => typeof result !== 'string' && result.code === 'queue-full';
const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
