import {
  type Connection,
  countDeadLetters,
  isCountable,
  type JobLog,
  type JobRun,
  type JobWork,
  Pace,
  type StoredMessage,
  scanDeadLetters,
  viewDeadLetter,
} from '@jetlane/jetstream';
import { type Count, type DeadLetter, type DeadLetterJob, JetlaneError } from '@jetlane/protocol';

/** What became of one dead letter of a job. */
export type LetterFate = 'moved' | 'skipped';

/** Deals with one dead letter. What it throws counts as a failure, but for a full lane, which stops the job. */
export type LetterAct = (job: DeadLetterJob, letter: DeadLetter) => Promise<LetterFate>;

const PAGE = 500;
const MOST_FAILURES = 20;

/**
 * What a job over dead letters does. It has a cursor behind which all is dealt with; whoever takes it over goes on from there. What it
 * does once more is harmless: a dead letter that was moved is gone, or is found to be moved (`DeadLetterMover`). Test:
 * dead-letter-takeover.spec.
 */
export function letterWork(connection: Connection, act: LetterAct, log: JobLog): JobWork<DeadLetterJob> {
  return {
    work: (run) => new LetterRun(connection, run, act, log).pages(),
    measure: async (job) => ({ left: await leftOf(connection, job) }),
    facts: ({ kind, filter, lane, rate, moved, skipped, failed, cursor, by }) => ({
      ...{ kind, filter, lane, rate, moved, skipped, failed, cursor, by },
    }),
  };
}

async function leftOf(connection: Connection, { filter, cursor, until, state, left }: DeadLetterJob): Promise<Count> {
  if (state === 'completed') return { count: 0, exact: true };
  if (!isCountable(filter)) return { count: left.count, exact: false };
  return { count: await countDeadLetters(connection, filter, cursor + 1, until), exact: true };
}

class LetterRun {
  private readonly pace: Pace;

  constructor(
    private readonly connection: Connection,
    private readonly run: JobRun<DeadLetterJob>,
    private readonly act: LetterAct,
    private readonly log: JobLog,
  ) {
    this.pace = new Pace(run.job.rate);
  }

  async pages(): Promise<void> {
    const { run, pace } = this;
    while (run.going) {
      const { filter, cursor: after, until } = run.job;
      const page = await run.retry(() => scanDeadLetters(this.connection, filter, { after, until, limit: PAGE }));
      for (let from = 0; from < page.letters.length && run.going; from += pace.chunk) {
        this.found(page.letters.length - from);
        await this.chunk(page.letters.slice(from, from + pace.chunk));
      }
      if (!run.going) break;
      this.found(0);
      if (page.next === undefined) run.end('completed');
      else run.set({ cursor: page.next });
    }
  }

  /** Found and not dealt with yet: all that is known of what is left where the server cannot count. */
  private found(count: number): void {
    this.run.set({ left: { count, exact: false } });
  }

  /** The cursor moves over a chunk when all of it is dealt with; a full lane leaves it before the first that found no room. */
  private async chunk(messages: readonly StoredMessage[]): Promise<void> {
    const { run } = this;
    await run.wait(this.pace.next(messages.length));
    if (!run.going) return;
    const letters = messages.map((message) => viewDeadLetter(this.connection.names, message));
    const results = await Promise.all(letters.map((letter) => this.attempt(letter)));
    const full = results.findIndex((result) => isFull(result));
    for (const [i, result] of results.entries()) this.note(letters[i]!, result);
    run.set({ cursor: full < 0 ? letters.at(-1)!.sequence : letters[full]!.sequence - 1 });
    this.found(run.job.left.count - (full < 0 ? letters.length : full));
    if (full >= 0) run.end('stopped', results[full]);
    await run.saveIfDue();
  }

  private attempt(letter: DeadLetter): Promise<LetterFate | JetlaneError> {
    return this.run
      .retry(() => this.act(this.run.job, letter))
      .catch((error: unknown) =>
        error instanceof JetlaneError ? error : new JetlaneError('internal', (error as Error).message ?? String(error), { cause: error }),
      );
  }

  private note({ id }: DeadLetter, result: LetterFate | JetlaneError): void {
    const { run } = this;
    if (isFull(result)) return;
    if (typeof result === 'string') return run.set({ [result]: run.job[result] + 1 });
    const { code, message } = result;
    this.log.warn({ job: run.job.id, id, code, error: message }, 'dead-letters:not-moved');
    const { failures, failed } = run.job;
    run.set({ failed: failed + 1, failures: failures.length < MOST_FAILURES ? [...failures, { id, code, message }] : failures });
  }
}

const isFull = (result: LetterFate | JetlaneError): boolean => typeof result !== 'string' && result.code === 'queue-full';
