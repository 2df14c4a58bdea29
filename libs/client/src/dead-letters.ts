import {
  type Connection,
  callCommand,
  DeadLetterMover,
  detailDeadLetter,
  scanDeadLetters,
  totalOf,
  viewDeadLetter,
} from '@jetlane/jetstream';
import {
  type Command,
  type CommandInput,
  type CommandOutput,
  DEAD_LETTER_COMMANDS,
  DEAD_LETTER_LIMITS,
  type DeadLetterDetail,
  type DeadLetterFilter,
  type DeadLetterJob,
  type DeadLetterPage,
  type DeadLetterPreview,
  JetlaneError,
  type Lane,
  type RedriveAnswer,
} from '@jetlane/protocol';
import type { ManyOptions, PageOptions, RedriveOptions } from './dead-letter-options.js';
import {
  answerOf,
  changeInput,
  type JobView,
  jobOf,
  manyInput,
  type PreviewView,
  previewOf,
  type RedrivenView,
} from './dead-letter-wire.js';

const { redrive, discard, discardOne, job, jobs, cancelJob } = DEAD_LETTER_COMMANDS;

/**
 * Looks after dead letters. Reading asks the stream itself; what changes something is carried out by the resiliency service,
 * which writes it into its log. Repeating a call whose answer was lost does no harm.
 */
export class DeadLetterAdmin {
  private readonly mover: DeadLetterMover;

  constructor(private readonly connection: Connection) {
    this.mover = new DeadLetterMover(connection);
  }

  /**
   * A page, oldest first. What a page reads is bounded: it may be empty and still have a `next`.
   * @throws JetlaneError `invalid-argument`
   */
  async list(filter: DeadLetterFilter = {}, { limit = DEAD_LETTER_LIMITS.page, after = 0 }: PageOptions = {}): Promise<DeadLetterPage> {
    if (!Number.isInteger(limit) || limit < 1 || limit > DEAD_LETTER_LIMITS.longestPage) {
      throw new JetlaneError('invalid-argument', `expected limit to be 1 to ${DEAD_LETTER_LIMITS.longestPage}, got ${limit}`, {
        details: { field: 'limit' },
      });
    }
    const page = await scanDeadLetters(this.connection, filter, { after, limit });
    return {
      items: page.letters.map((stored) => viewDeadLetter(this.connection.names, stored)),
      ...(page.next === undefined ? {} : { next: page.next }),
      scanned: page.scanned,
      total: await totalOf(this.connection, filter, after, page),
    };
  }

  /** One dead letter with its payload. @throws JetlaneError `dead-letter-not-found`, `invalid-argument` */
  async get(id: string): Promise<DeadLetterDetail> {
    const stored = await this.mover.find(id);
    if (!stored) throw new JetlaneError('dead-letter-not-found', `there is no dead letter of task "${id}"`, { details: { id } });
    return detailDeadLetter(this.connection.names, stored);
  }

  /** All that fit the filter, with their payloads, oldest first; read as fast as they are taken. */
  async *export(filter: DeadLetterFilter = {}, { after = 0 }: Pick<PageOptions, 'after'> = {}): AsyncGenerator<DeadLetterDetail, void> {
    for (let next: number | undefined = after; next !== undefined; ) {
      const page = await scanDeadLetters(this.connection, filter, { after: next, limit: DEAD_LETTER_LIMITS.page });
      for (const stored of page.letters) yield detailDeadLetter(this.connection.names, stored);
      next = page.next;
    }
  }

  /**
   * Sends one dead letter back to its lane, or to another one, or with another payload.
   * @throws JetlaneError `dead-letter-not-found`, `unknown-queue`, `queue-full`, `payload-too-large`, `service-unavailable`
   */
  async redrive(id: string, { by, ...change }: RedriveOptions = {}): Promise<RedriveAnswer> {
    return answerOf((await this.call(redrive, { task_id: id, ...changeInput(change) }, by)) as RedrivenView);
  }

  /** What {@link redrive} would do. */
  async previewRedrive(id: string, { by, ...change }: RedriveOptions = {}): Promise<RedriveAnswer> {
    return answerOf((await this.call(redrive, { task_id: id, ...changeInput(change), dry_run: true }, by)) as RedrivenView);
  }

  /**
   * Starts a job that sends back all that fit the filter and are there now.
   * @throws JetlaneError `unknown-queue`, `too-many-jobs`, `invalid-argument`, `service-unavailable`
   */
  async redriveAll(filter: DeadLetterFilter, { by, ...options }: ManyOptions & { readonly lane?: Lane } = {}): Promise<DeadLetterJob> {
    return jobOf((await this.call(redrive, manyInput(filter, options), by)) as JobView);
  }

  /** What {@link redriveAll} would do: how many, and a sample. */
  async previewRedriveAll(
    filter: DeadLetterFilter,
    { by, ...options }: ManyOptions & { readonly lane?: Lane } = {},
  ): Promise<DeadLetterPreview> {
    return previewOf((await this.call(redrive, { ...manyInput(filter, options), dry_run: true }, by)) as PreviewView);
  }

  /** Throws one dead letter away; its task stays `dead`. @throws JetlaneError `dead-letter-not-found`, `service-unavailable` */
  async discard(id: string, { by }: { readonly by?: string } = {}): Promise<{ readonly id: string; readonly discarded: boolean }> {
    const { discarded } = await this.call(discardOne, { task_id: id }, by);
    return { id, discarded };
  }

  /** Starts a job that throws away all that fit the filter and are there now. @throws JetlaneError `too-many-jobs`, `invalid-argument`, `service-unavailable` */
  async discardAll(filter: DeadLetterFilter, { by, ...options }: ManyOptions = {}): Promise<DeadLetterJob> {
    return jobOf((await this.call(discard, manyInput(filter, options), by)) as JobView);
  }

  /** What {@link discardAll} would do. */
  async previewDiscardAll(filter: DeadLetterFilter, { by, ...options }: ManyOptions = {}): Promise<DeadLetterPreview> {
    return previewOf((await this.call(discard, { ...manyInput(filter, options), dry_run: true }, by)) as PreviewView);
  }

  /** How a job fares. @throws JetlaneError `job-not-found`, `service-unavailable` */
  async job(id: string): Promise<DeadLetterJob> {
    return jobOf(await this.call(job, { job_id: id }));
  }

  /** The jobs of the last seven days, newest first. */
  async jobs(): Promise<readonly DeadLetterJob[]> {
    return (await this.call(jobs, {})).jobs.map(jobOf);
  }

  /** Asks a job to end after what it has in hand. @throws JetlaneError `job-not-found`, `service-unavailable` */
  async cancelJob(id: string): Promise<DeadLetterJob> {
    return jobOf(await this.call(cancelJob, { job_id: id }));
  }

  private call<C extends Command>(command: C, input: CommandInput<C>, by = 'unknown'): Promise<CommandOutput<C>> {
    return callCommand(this.connection, command, input, by);
  }
}
