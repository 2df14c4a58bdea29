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
  type Count,
  DEAD_LETTER_LIMITS,
  type DeadLetter,
  type DeadLetterDetail,
  type DeadLetterFilter,
  type DeadLetterJob,
  type DeadLetterPage,
  type DeadLetterPreview,
  type DiscardInput,
  discardSchema,
  HEADER,
  headerValue,
  idInputSchema,
  JetlaneError,
  JSON_CONTENT_TYPE,
  laneIn,
  listDeadLettersSchema,
  type RedriveAnswer,
  type RedriveInput,
  redriveSchema,
  traceOf,
} from '@jetlane/protocol';
import { noteStep, type TaskStep } from '@jetlane/telemetry';
import { readInput } from './input.js';
import { Jobs, type JobsOptions } from './jobs/jobs.js';
import type { LetterFate } from './jobs/letter-work.js';
import type { Queues } from './queues.js';

export interface DeadLettersOptions extends Pick<JobsOptions, 'log' | 'saveMs' | 'takeOverMs'> {
  readonly queues: Pick<Queues, 'keepMs' | 'has' | 'get'>;
}

/** An answer over NATS must fit into one message (1 MiB by default, in which NDJSON is quoted once more): a page ends at this size. */
const PAGE_BYTES = 400 * 1024;
const SAMPLE = 20;
/** A preview looks at dead letters for this long at most, ms: its caller waits. */
const PREVIEW_MS = 3000;

/** The commands about dead letters: each takes what came over the wire. */
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

  /** A page, oldest first. @throws JetlaneError `invalid-argument` */
  async list(input: unknown): Promise<DeadLetterPage> {
    const { limit, after, ...filter } = readInput(listDeadLettersSchema, input ?? {});
    const page = await scanDeadLetters(this.connection, filter, { after, limit });
    const items = page.letters.map((stored) => viewDeadLetter(this.connection.names, stored));
    const fitting = fits(items, JSON.stringify);
    const next = fitting.length < items.length ? fitting.at(-1)?.sequence : page.next;
    return {
      items: fitting,
      ...(next === undefined ? {} : { next }),
      scanned: page.scanned,
      total: await totalOf(this.connection, filter, after, page),
    };
  }

  /** A page as NDJSON, payloads included: a line per dead letter. @throws JetlaneError `invalid-argument` */
  async export(input: unknown): Promise<{ ndjson: string; count: number; next?: number }> {
    const { limit, after, ...filter } = readInput(listDeadLettersSchema, input ?? {});
    const page = await scanDeadLetters(this.connection, filter, { after, limit });
    const line = (stored: StoredMessage) => `${JSON.stringify(detailDeadLetter(this.connection.names, stored))}\n`;
    const fitting = fits(page.letters, line);
    const next = fitting.length < page.letters.length ? fitting.at(-1)?.sequence : page.next;
    return { ndjson: fitting.map(line).join(''), count: fitting.length, ...(next === undefined ? {} : { next }) };
  }

  /** @throws JetlaneError `dead-letter-not-found` */
  async get(input: unknown): Promise<DeadLetterDetail> {
    return detailDeadLetter(this.connection.names, await this.find(readInput(idInputSchema, input).id));
  }

  /**
   * One dead letter: sends it back. A filter: starts a job that does so. With `dryRun`: tells what would be done.
   * @throws JetlaneError `dead-letter-not-found`, `unknown-queue`, `queue-full`, `payload-too-large`, `too-many-jobs`; `invalid-argument` for a
   * lane that a `fifo` queue does not have
   */
  async redrive(input: unknown): Promise<RedriveAnswer | DeadLetterJob | DeadLetterPreview> {
    const asked = readInput(redriveSchema, input);
    if (asked.id !== undefined) return this.redriveOne(asked.id, asked);
    const { filter = {}, lane, rate = DEAD_LETTER_LIMITS.rate, after = 0, dryRun, by } = asked;
    if (filter.queue !== undefined) laneIn(await this.options.queues.get(filter.queue), lane);
    if (dryRun) return this.preview(filter, after, true);
    return this.jobs.beginLetters({ kind: 'redrive', filter, rate, after, ...(lane ? { lane } : {}), ...(by ? { by } : {}) });
  }

  /** One dead letter: throws it away. A filter: starts a job that does so. @throws JetlaneError `dead-letter-not-found`, `too-many-jobs` */
  async discard(input: unknown): Promise<{ id: string; discarded: boolean; dryRun?: true } | DeadLetterJob | DeadLetterPreview> {
    const asked = readInput(discardSchema, input);
    if (asked.id !== undefined) return this.discardOne(asked.id, asked);
    const { filter = {}, rate = DEAD_LETTER_LIMITS.rate, after = 0, dryRun, by } = asked;
    if (dryRun) return this.preview(filter, after, false);
    return this.jobs.beginLetters({ kind: 'discard', filter, rate, after, ...(by ? { by } : {}) });
  }

  /** @throws JetlaneError `job-not-found` */
  async job(input: unknown): Promise<DeadLetterJob> {
    return this.jobs.get(readInput(idInputSchema, input).id);
  }

  async listJobs(): Promise<{ jobs: DeadLetterJob[] }> {
    return { jobs: await this.jobs.list() };
  }

  /** @throws JetlaneError `job-not-found` */
  async cancel(input: unknown): Promise<DeadLetterJob> {
    return this.jobs.cancel(readInput(idInputSchema, input).id);
  }

  private async redriveOne(id: string, asked: RedriveInput): Promise<RedriveAnswer> {
    const { lane: wanted, dryRun, by } = asked;
    const letter = viewDeadLetter(this.connection.names, await this.find(id));
    const target = laneIn(await this.options.queues.get(letter.queue), wanted);
    if (dryRun) return { id, hop: letter.hop + 1, lane: target ?? letter.lane, duplicate: false, dryRun };
    const payload = payloadOf(asked);
    const { fate, hop, lane } = await this.sendBack(id, { lane: target, payload });
    if (fate === 'gone') throw notFound(id);
    this.options.log.info({ id, hop, lane, edited: payload !== undefined, fate, by }, 'dead-letter:redriven');
    return { id, hop, lane, duplicate: fate === 'duplicate' };
  }

  private async discardOne(id: string, { dryRun, by }: DiscardInput): Promise<{ id: string; discarded: boolean; dryRun?: true }> {
    const letter = viewDeadLetter(this.connection.names, await this.find(id));
    if (dryRun) return { id, discarded: false, dryRun };
    if ((await this.throwAway(letter, { by })) === 'skipped') throw notFound(id);
    return { id, discarded: true };
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

/** The first of them whose texts fit into a page; at least one. */
function fits<T>(list: readonly T[], text: (item: T) => string): T[] {
  const fitting: T[] = [];
  let bytes = 0;
  for (const item of list) {
    bytes += Buffer.byteLength(text(item));
    if (bytes > PAGE_BYTES && fitting.length > 0) break;
    fitting.push(item);
  }
  return fitting;
}

function payloadOf(asked: RedriveInput): RedriveChange['payload'] {
  if (Object.hasOwn(asked, 'data')) return { data: JSON.stringify(asked.data), contentType: undefined };
  if (asked.base64 === undefined) return undefined;
  const contentType = asked.contentType === JSON_CONTENT_TYPE ? undefined : asked.contentType;
  return { data: Buffer.from(asked.base64, 'base64'), contentType };
}
