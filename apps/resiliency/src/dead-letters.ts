import {
  type Connection,
  DeadLetterMover,
  detailDeadLetter,
  type RedriveChange,
  type Redriven,
  type StoredMessage,
  scanDeadLetters,
  totalOf,
  viewDeadLetter,
} from '@jetlane/jetstream';
import {
  type CommandInput,
  type CommandOutput,
  type Count,
  type DEAD_LETTER_COMMANDS,
  DEAD_LETTER_LIMITS,
  type DeadLetter,
  type DeadLetterFilter,
  type DeadLetterJob,
  type DeadLetterPreview,
  deadLetterDetailView,
  deadLetterFilterOf,
  deadLetterJobView,
  deadLetterPreviewView,
  deadLetterView,
  HEADER,
  headerValue,
  JetlaneError,
  JSON_CONTENT_TYPE,
  laneIn,
  traceOf,
} from '@jetlane/protocol';
import { noteStep, type TaskStep } from '@jetlane/telemetry';
import { Jobs, type JobsOptions } from './jobs/jobs.js';
import type { LetterFate } from './jobs/letter-work.js';
import type { Queues } from './queues.js';

type Commands = typeof DEAD_LETTER_COMMANDS;
type Input<K extends keyof Commands> = CommandInput<Commands[K]>;
type Output<K extends keyof Commands> = CommandOutput<Commands[K]>;

export interface DeadLettersOptions extends Pick<JobsOptions, 'log' | 'saveMs' | 'takeOverMs'> {
  readonly queues: Pick<Queues, 'keepMs' | 'has' | 'get'>;
}

/** An answer over NATS must fit into one message (1 MiB by default): a page ends at this size. */
const PAGE_BYTES = 400 * 1024;
const SAMPLE = 20;
/** A preview looks at dead letters for this long at most, ms: its caller waits. */
const PREVIEW_MS = 3000;

/** The commands about dead letters: each takes what came over the wire, checked. `by` says who asks: for the log. */
export class DeadLetters {
  private readonly mover: DeadLetterMover;
  private readonly jobs: Jobs;

  constructor(
    private readonly connection: Connection,
    private readonly options: DeadLettersOptions,
  ) {
    this.mover = new DeadLetterMover(connection);
    this.jobs = new Jobs(connection, { ...options, act: (job, letter) => this.act(job, letter) });
  }

  start(): Promise<void> {
    return this.jobs.start();
  }

  stop(): Promise<void> {
    return this.jobs.stop();
  }

  /** A page, oldest first. */
  async list({ limit, cursor: after = 0, ...fields }: Input<'list'>): Promise<Output<'list'>> {
    const filter = deadLetterFilterOf(fields);
    const page = await scanDeadLetters(this.connection, filter, { after, limit });
    const views = page.letters.map((stored) => deadLetterView(viewDeadLetter(this.connection.names, stored)));
    const items = fitting(views);
    const cursor = items.length < views.length ? items.at(-1)?.sequence : page.next;
    return { items, cursor, scanned: page.scanned, total: await totalOf(this.connection, filter, after, page) };
  }

  /** @throws JetlaneError `dead-letter-not-found` */
  async get({ task_id }: Input<'get'>): Promise<Output<'get'>> {
    return deadLetterDetailView(detailDeadLetter(this.connection.names, await this.find(task_id)));
  }

  /**
   * One dead letter: sends it back. A filter: starts a job that does so. With `dry_run`: tells what would be done.
   * @throws JetlaneError `dead-letter-not-found`, `unknown-queue`, `queue-full`, `payload-too-large`, `too-many-jobs`; `invalid-argument` for a
   * lane that a `fifo` queue does not have
   */
  async redrive(input: Input<'redrive'>, by: string): Promise<Output<'redrive'>> {
    if (input.task_id !== undefined) return this.redriveOne(input.task_id, input, by);
    const { filter = {}, lane } = input;
    if (filter.queue_name !== undefined) laneIn(await this.options.queues.get(filter.queue_name), lane);
    return this.many('redrive', input, by);
  }

  /** One dead letter: throws it away. A filter: starts a job that does so. @throws JetlaneError `dead-letter-not-found`, `too-many-jobs` */
  async discard(input: Input<'discard'>, by: string): Promise<Output<'discard'>> {
    if (input.task_id === undefined) return this.many('discard', input, by);
    if (!input.dry_run) return this.discardOne({ task_id: input.task_id }, by);
    await this.find(input.task_id);
    return { task_id: input.task_id, discarded: false, dry_run: true };
  }

  /** @throws JetlaneError `dead-letter-not-found` */
  async discardOne({ task_id }: Input<'discardOne'>, by: string): Promise<Output<'discardOne'>> {
    const letter = viewDeadLetter(this.connection.names, await this.find(task_id));
    if ((await this.throwAway(letter, { by })) === 'skipped') throw notFound(task_id);
    return { task_id, discarded: true };
  }

  async listJobs(): Promise<Output<'jobs'>> {
    return { jobs: (await this.jobs.list()).map(deadLetterJobView) };
  }

  /** @throws JetlaneError `job-not-found` */
  async job({ job_id }: Input<'job'>): Promise<Output<'job'>> {
    return deadLetterJobView(await this.jobs.get(job_id));
  }

  /** @throws JetlaneError `job-not-found` */
  async cancelJob({ job_id }: Input<'cancelJob'>): Promise<Output<'cancelJob'>> {
    return deadLetterJobView(await this.jobs.cancel(job_id));
  }

  private async redriveOne(task_id: string, input: Input<'redrive'>, by: string): Promise<Output<'redrive'>> {
    const letter = viewDeadLetter(this.connection.names, await this.find(task_id));
    const target = laneIn(await this.options.queues.get(letter.queue), input.lane);
    if (input.dry_run) return { task_id, hop: letter.hop + 1, lane: target ?? letter.lane, duplicate: false, dry_run: true };
    const payload = payloadOf(input);
    const { fate, hop, lane } = await this.sendBack(task_id, { lane: target, payload });
    if (fate === 'gone') throw notFound(task_id);
    this.options.log.info({ id: task_id, hop, lane, edited: payload !== undefined, fate, by }, 'dead-letter:redriven');
    return { task_id, hop, lane, duplicate: fate === 'duplicate' };
  }

  private async many(kind: DeadLetterJob['kind'], input: Input<'discard'> & Pick<Input<'redrive'>, 'lane'>, by: string) {
    const filter = deadLetterFilterOf(input.filter ?? {});
    const { lane, rate = DEAD_LETTER_LIMITS.rate, cursor: after = 0, dry_run } = input;
    if (dry_run) return deadLetterPreviewView(await this.preview(filter, after, kind === 'redrive'));
    return deadLetterJobView(await this.jobs.beginLetters({ kind, filter, rate, after, lane, by }));
  }

  private async act(job: DeadLetterJob, letter: DeadLetter): Promise<LetterFate> {
    if (job.kind === 'discard') return this.throwAway(letter, { job: job.id, by: job.by });
    const lane = laneIn(await this.options.queues.get(letter.queue), job.lane);
    const { fate } = await this.sendBack(letter.id, { lane }, letter.sequence);
    return fate === 'moved' ? 'moved' : 'skipped';
  }

  /** Redrives, and tells the task's trace. */
  private async sendBack(id: string, change: RedriveChange, sequence?: number): Promise<Redriven> {
    const startedAt = Date.now();
    const redriven = await this.mover.redrive(id, change, sequence);
    noteStep(() => redriveStep(id, redriven, startedAt), traceOf(redriven.headers));
    return redriven;
  }

  /** Every discard leaves a line in the log: it is the last that is heard of a payload. */
  private async throwAway(letter: DeadLetter, asked: { job?: string; by?: string | undefined }): Promise<LetterFate> {
    const { id, sequence, queue, hop, type, reason, fingerprint } = letter;
    if ((await this.mover.discard(id, this.options.queues.keepMs(queue), sequence)) === 'gone') return 'skipped';
    this.options.log.info({ id, hop, type, reason, fingerprint, ...asked }, 'dead-letter:discarded');
    return 'moved';
  }

  private async preview(filter: DeadLetterFilter, after: number, redrive: boolean): Promise<DeadLetterPreview> {
    const deadline = performance.now() + PREVIEW_MS;
    const sample: (DeadLetter & { problem?: string })[] = [];
    let count = 0;
    let matched: Count | undefined;
    let next: number | undefined = after;
    while (next !== undefined && matched === undefined && performance.now() < deadline) {
      const page = await scanDeadLetters(this.connection, filter, { after: next, limit: DEAD_LETTER_LIMITS.longestPage });
      for (const stored of page.letters.slice(0, SAMPLE - sample.length)) sample.push(viewDeadLetter(this.connection.names, stored));
      count += page.letters.length;
      const total = await totalOf(this.connection, filter, next, page);
      if (after === 0 && next === 0 && total.exact) matched = total;
      next = page.next;
    }
    if (redrive) for (const letter of sample) if (!(await this.options.queues.has(letter.queue))) letter.problem = 'unknown-queue';
    const found = matched ?? { count, exact: next === undefined };
    return { dryRun: true, matched: found, sample, ...(next === undefined || matched ? {} : { next }) };
  }

  private async find(id: string): Promise<StoredMessage> {
    const stored = await this.mover.find(id);
    if (!stored) throw notFound(id);
    return stored;
  }
}

function redriveStep(id: string, { fate: outcome, hop, lane, headers }: Redriven, startedAt: number): TaskStep {
  const queue = id.slice(0, id.indexOf('.'));
  return { step: 'redrive', id, queue, lane, type: headerValue(headers, HEADER.type), hop, outcome, startedAt };
}

const notFound = (id: string): JetlaneError =>
  new JetlaneError(
    'dead-letter-not-found',
    `there is no dead letter of task "${id}"; it was redriven or discarded, or the task is not dead`,
    {
      details: { id },
    },
  );

/** The first of them that fit into a page together; at least one. */
function fitting<T>(list: readonly T[]): T[] {
  const first: T[] = [];
  let bytes = 0;
  for (const item of list) {
    bytes += Buffer.byteLength(JSON.stringify(item));
    if (bytes > PAGE_BYTES && first.length > 0) break;
    first.push(item);
  }
  return first;
}

function payloadOf(input: Input<'redrive'>): RedriveChange['payload'] {
  // A payload of null is one.
  if (Object.hasOwn(input, 'task_data')) return { data: JSON.stringify(input.task_data), contentType: undefined };
  if (input.base64 === undefined) return undefined;
  const contentType = input.content_type === JSON_CONTENT_TYPE ? undefined : input.content_type;
  return { data: Buffer.from(input.base64, 'base64'), contentType };
}
