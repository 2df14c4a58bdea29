import type { Denial } from './denials.js';
import type { Frame } from './frame.js';
import type { FrameSubscription, Inbound } from './inbound.js';
import type { Outbox } from './outbox.js';
import type { Publication } from './publication.js';
import type { Publisher } from './publisher.js';

/** One fast batch under way (ADR-50): stored message by message, confirmed by one answer. */
interface Batch {
  readonly of: BulkStream;
  readonly publications: readonly Publication[];
  readonly bytes: number;
  /** `performance.now()` of its sending. */
  readonly sentAt: number;
}

/** What the server says about a batch: flow control, the end, or an error. */
interface BatchAnswer {
  readonly batch?: string;
  readonly count?: number;
  readonly seq?: number;
  readonly error?: unknown;
}

/** Fewer messages than this go one by one: a batch has a start and an end that cost something too. */
const LEAST = 8;
const MOST = 256;
/** Fewer than a batch wait for more for this long, ms, as long as every turn of the event loop brings some. */
const GATHER_MS = 4;
const MOST_BYTES = 128 * 1024;
/** Messages and payload of unconfirmed batches beyond which the next ones wait in the publisher's line. */
const WINDOW = 8192;
const WINDOW_BYTES = 32 * 1024 * 1024;
/** The server would confirm in between after so many messages. */
const FLOW = 500;
/** Silence after which a batch goes one by one: long enough that a busy server is not given everything twice. */
const TIMEOUT_MS = 5000;
const SWEEP_MS = 250;
/** After a refusal (batches disabled on an older stream, too many of them under way) messages go one by one for a while. */
const REST_MS = 1000;
/** Last but one token of a reply subject: what a message does in its batch. */
const START = 0;
const APPEND = 1;
const COMMIT = 2;

/**
 * Stores the messages of one turn of the event loop as one batch per stream: the server confirms a batch once, which spares it
 * and us the answer to every message. The streams need `allow_batched`. A batch that is refused, not answered in time or cut
 * off by a broken link may be stored in part: all its messages are then published one by one, and each hears its own end. So they
 * must carry a message id, or storing them twice must be harmless.
 */
export class BulkPublisher {
  private readonly streams = new Map<string, BulkStream>();
  private readonly batches = new Map<number, Batch>();
  /** Messages of the batches under way. */
  private unconfirmed = 0;
  private unconfirmedBytes = 0;
  private counter = 0;
  private readonly prefix: string;
  private readonly subscription: FrameSubscription;
  private readonly sweeper: NodeJS.Timeout;
  private readonly timeoutMs: number;

  constructor(
    inbound: Inbound,
    private readonly outbox: Outbox,
    private readonly publisher: Publisher,
  ) {
    this.timeoutMs = Math.min(TIMEOUT_MS, publisher.timeoutMs);
    this.prefix = `${inbound.newInbox()}.`;
    this.subscription = inbound.subscribe(`${this.prefix}>`, (frame) => this.answered(frame));
    this.sweeper = setInterval(() => this.sweep(), SWEEP_MS);
    this.sweeper.unref();
  }

  /** Messages that are not confirmed or wait for the end of the turn. */
  get pending(): number {
    let gathered = 0;
    for (const stream of this.streams.values()) gathered += stream.count;
    return this.unconfirmed + gathered;
  }

  /** True when a message now would have to go one by one. */
  get full(): boolean {
    return this.unconfirmed >= WINDOW || this.unconfirmedBytes >= WINDOW_BYTES;
  }

  /** Where the messages of one stream gather. */
  stream(name: string): BulkStream {
    let stream = this.streams.get(name);
    if (!stream) {
      stream = new BulkStream(this);
      this.streams.set(name, stream);
    }
    return stream;
  }

  /** Sends what was gathered, now. */
  flush(): void {
    for (const stream of this.streams.values()) stream.flush();
  }

  /** The link broke, or is closed: what was not confirmed goes one by one, as soon as the publisher can. */
  linkDown(): void {
    for (const id of [...this.batches.keys()]) this.again(this.take(id)!);
  }

  /** The user may not publish there: the publisher finds out for each message of the batch. @returns whether one was on its way there */
  denied({ operation, subject }: Denial): boolean {
    if (operation !== 'publish') return false;
    const [id] =
      [...this.batches].find(([, { publications }]) => publications.some((publication) => publication.subject === subject)) ?? [];
    if (id !== undefined) this.again(this.take(id)!);
    return id !== undefined;
  }

  close(): void {
    clearInterval(this.sweeper);
    this.subscription.unsubscribe();
    this.flush();
    this.linkDown();
  }

  /** Sends what a stream has gathered in one turn. */
  send(of: BulkStream, publications: readonly Publication[], bytes: number): void {
    const worthwhile = publications.length >= LEAST && !this.full && performance.now() >= of.restsUntil;
    if (worthwhile && this.publisher.linked) this.sendBatch(of, publications, bytes);
    else this.oneByOne(publications);
    this.outbox.flush();
  }

  private sendBatch(of: BulkStream, publications: readonly Publication[], bytes: number): void {
    const id = ++this.counter;
    this.batches.set(id, { of, publications, bytes, sentAt: performance.now() });
    this.unconfirmed += publications.length;
    this.unconfirmedBytes += bytes;
    const base = `${this.prefix}${id}.${FLOW}.fail.`;
    const last = publications.length - 1;
    try {
      for (let i = 0; i <= last; i++) {
        const { subject, data, headers } = publications[i]!;
        const step = i === 0 ? START : i === last ? COMMIT : APPEND;
        this.outbox.push(subject, `${base}${i + 1}.${step}.$FI`, data, headers);
      }
    } catch {
      // One of them cannot be sent: the publisher finds out which. The server drops a batch that never ends.
      this.take(id);
      this.oneByOne(publications);
    }
  }

  private answered(frame: Frame): void {
    const id = frame.subjectNumber(this.prefix.length);
    const answer = read(frame);
    // Flow control, such as the answer to a start, says nothing that the end does not say.
    if (answer && !answer.error && answer.batch === undefined) return;
    const batch = this.take(id);
    if (!batch) return;
    const { publications, of } = batch;
    if (answer?.count === publications.length && typeof answer.seq === 'number') {
      const ack = { seq: answer.seq };
      for (const publication of publications) publication.confirmed(ack);
    } else {
      of.restsUntil = performance.now() + REST_MS;
      this.again(batch);
    }
  }

  private take(id: number): Batch | undefined {
    const batch = this.batches.get(id);
    if (!batch) return undefined;
    this.batches.delete(id);
    this.unconfirmed -= batch.publications.length;
    this.unconfirmedBytes -= batch.bytes;
    return batch;
  }

  private oneByOne(publications: readonly Publication[]): void {
    for (const publication of publications) this.publisher.post(publication);
  }

  /** As {@link oneByOne}, for what may be stored already. */
  private again({ publications, sentAt }: Batch): void {
    for (const publication of publications) this.publisher.again(publication, sentAt);
  }

  /** Looks behind the reading of the socket, as the publisher does. */
  private sweep(): void {
    const now = performance.now();
    setImmediate(() => {
      for (const [id, { sentAt }] of this.batches) if (now - sentAt >= this.timeoutMs) this.again(this.take(id)!);
    });
  }
}

/**
 * The messages of one stream that wait for the end of the turn; or, too few for a batch, for the first turn that brings no more:
 * Node accepts one connection a turn, so requests on new connections come one by one however many there are.
 */
export class BulkStream {
  private gathered: Publication[] = [];
  private bytes = 0;
  /** `performance.now()` until which no batch is begun. */
  restsUntil = 0;

  constructor(private readonly publisher: BulkPublisher) {}

  get count(): number {
    return this.gathered.length;
  }

  /** Stores a message at the end of the turn; see {@link Publisher.post} for what it may be told. */
  post(publication: Publication): void {
    this.bytes += publication.data.length;
    const count = this.gathered.push(publication);
    if (count >= MOST || this.bytes >= MOST_BYTES) this.flush();
    else if (count === 1) this.turn(0, performance.now() + GATHER_MS);
  }

  /** Sends at the end of this turn, or looks again at the end of the next. @param before messages that there were a turn ago */
  private turn(before: number, until: number): void {
    setImmediate(() => {
      const { count } = this;
      if (count > before && count < LEAST && performance.now() < until) this.turn(count, until);
      else this.flush();
    });
  }

  /** Sends what was gathered, now. */
  flush(): void {
    const { gathered, bytes } = this;
    if (gathered.length === 0) return;
    this.gathered = [];
    this.bytes = 0;
    this.publisher.send(this, gathered, bytes);
  }
}

function read(frame: Frame): BatchAnswer | undefined {
  try {
    return JSON.parse(frame.text) as BatchAnswer;
  } catch {
    return undefined;
  }
}
