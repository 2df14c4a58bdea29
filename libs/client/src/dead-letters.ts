import {
  type Connection,
  callService,
  DeadLetterMover,
  detailDeadLetter,
  scanDeadLetters,
  totalOf,
  viewDeadLetter,
} from '@jetlane/jetstream';
import {
  DEAD_LETTER_LIMITS,
  DEAD_LETTER_SERVICE,
  type DeadLetterDetail,
  type DeadLetterFilter,
  type DeadLetterJob,
  type DeadLetterPage,
  type DeadLetterPreview,
  JetlaneError,
  type Lane,
  type RedriveAnswer,
} from '@jetlane/protocol';

/** A page of a list. */
export interface PageOptions {
  /** 1 to 1000. Default 100. */
  readonly limit?: number;
  /** `next` of the page before. */
  readonly after?: number;
}

/** How one dead letter is sent back. */
export interface RedriveOptions {
  /** Default: the lane it came from. */
  readonly lane?: Lane;
  /** Another payload: any JSON value, or bytes together with `contentType`. Default: as it was. */
  readonly data?: unknown;
  /** Media type of bytes in `data`. Default: that of the dead letter. */
  readonly contentType?: string;
  /** Who asks: for the log of the service. */
  readonly by?: string;
}

/** How many dead letters are redriven or discarded. */
export interface ManyOptions {
  /** Most dead letters a second, 0.1 to 10,000. Default 100. */
  readonly rate?: number;
  /** Where an earlier job stopped: its `cursor`. */
  readonly after?: number;
  /** Needed for a filter without a condition. */
  readonly all?: true;
  /** Who asks: for the log of the service. */
  readonly by?: string;
}

/** A dead letter may wait for a publish to be confirmed, and a preview reads for seconds. */
const TIMEOUT_MS = 15_000;

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
  redrive(id: string, options: RedriveOptions = {}): Promise<RedriveAnswer> {
    return this.call('redrive', { id, ...wire(options) });
  }

  /** What {@link redrive} would do. */
  previewRedrive(id: string, options: RedriveOptions = {}): Promise<RedriveAnswer> {
    return this.call('redrive', { id, ...wire(options), dryRun: true });
  }

  /**
   * Starts a job that sends back all that fit the filter and are there now.
   * @throws JetlaneError `unknown-queue`, `too-many-jobs`, `invalid-argument`, `service-unavailable`
   */
  redriveAll(filter: DeadLetterFilter, options: ManyOptions & { readonly lane?: Lane } = {}): Promise<DeadLetterJob> {
    return this.call('redrive', { filter, ...options });
  }

  /** What {@link redriveAll} would do: how many, and a sample. */
  previewRedriveAll(filter: DeadLetterFilter, options: ManyOptions & { readonly lane?: Lane } = {}): Promise<DeadLetterPreview> {
    return this.call('redrive', { filter, ...options, dryRun: true });
  }

  /** Throws one dead letter away; its task stays `dead`. @throws JetlaneError `dead-letter-not-found`, `service-unavailable` */
  discard(id: string, { by }: { readonly by?: string } = {}): Promise<{ readonly id: string; readonly discarded: boolean }> {
    return this.call('discard', { id, by });
  }

  /** Starts a job that throws away all that fit the filter and are there now. @throws JetlaneError `too-many-jobs`, `invalid-argument`, `service-unavailable` */
  discardAll(filter: DeadLetterFilter, options: ManyOptions = {}): Promise<DeadLetterJob> {
    return this.call('discard', { filter, ...options });
  }

  /** What {@link discardAll} would do. */
  previewDiscardAll(filter: DeadLetterFilter, options: ManyOptions = {}): Promise<DeadLetterPreview> {
    return this.call('discard', { filter, ...options, dryRun: true });
  }

  /** How a job fares. @throws JetlaneError `job-not-found`, `service-unavailable` */
  job(id: string): Promise<DeadLetterJob> {
    return this.call('job', { id });
  }

  /** The jobs of the last seven days, newest first. */
  async jobs(): Promise<readonly DeadLetterJob[]> {
    return (await this.call<{ jobs: readonly DeadLetterJob[] }>('jobs', {})).jobs;
  }

  /** Asks a job to end after what it has in hand. @throws JetlaneError `job-not-found`, `service-unavailable` */
  cancelJob(id: string): Promise<DeadLetterJob> {
    return this.call('cancel', { id });
  }

  private async call<T>(command: string, input: object): Promise<T> {
    return (await callService(this.connection, DEAD_LETTER_SERVICE, command, input, TIMEOUT_MS)) as T;
  }
}

/** A payload in bytes travels as base64. */
function wire({ data, contentType, ...rest }: RedriveOptions): object {
  if (data instanceof Uint8Array) return { ...rest, base64: Buffer.from(data).toString('base64'), contentType };
  return { ...rest, ...(data === undefined ? {} : { data }), ...(contentType === undefined ? {} : { contentType }) };
}
