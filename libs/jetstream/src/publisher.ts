import { JetlaneError, LANE_DEFAULTS } from '@jetlane/protocol';
import type { Denial } from './denials.js';
import type { Frame } from './frame.js';
import type { FrameSubscription, Inbound } from './inbound.js';
import type { Outbox, Payload } from './outbox.js';
import { type ApiAnswer, parseAnswer, plainSequence } from './pub-ack.js';
import { AwaitedPublication, type PubAck, type Publication } from './publication.js';
import { abandonedError, forgottenError, isPassing, publishError, refusal, timeoutError } from './publish-errors.js';
import { statusCode } from './wire-message.js';

/** Bounds of a pipelined publisher. */
export interface PublisherOptions {
  /** Unacknowledged publishes at a time. */
  readonly window: number;
  /** How long a publish may take, retries included, in ms. */
  readonly timeoutMs: number;
  /** Publishes that may wait for a place in the window before new ones are refused. */
  readonly maxWaiting: number;
  /** The lanes of a queue share their limits, as the refusal of a full one says. Default false. */
  readonly sharedLimits?: boolean;
  /** How long after its first unanswered sending a message may be sent again, in ms. Default: 5 s less than lanes remember message ids. */
  readonly repeatMs?: number;
}

const SWEEP_MS = 50;
/** Payload outstanding beyond which publishes wait in line, whatever the window: large ones would fill the memory long before it. */
const MOST_BYTES = 64 * 1024 * 1024;
/**
 * After so much silence a publish is sent again: the leader of its stream may have died with it, over a link that stayed up. Longer
 * than a busy server takes to answer, shorter than the deadline.
 */
const SILENCE_MS = 4000;
/** What is sent again must come before the server forgets the message id of what it may have stored. */
const REPEAT_MS = LANE_DEFAULTS.duplicateWindowMs - 5000;
const FIRST_RETRY_MS = 25;
const LONGEST_RETRY_MS = 500;

/**
 * Publishes into JetStream with many confirmations outstanding: one inbox, a bounded window, callers beyond it wait in
 * line. What is unconfirmed when the link breaks, or unanswered for seconds, is sent again under the same message id; what no
 * stream takes is sent again with backoff. After the deadline, or when a repeat could be stored a second time, the outcome is unknown and
 * the error says so.
 *
 * States of a publication: waiting → sent → confirmed | refused | timed out; sent → (reconnect, no responders) → sent.
 */
export class Publisher {
  /** What is sent and not confirmed, by token modulo its length: twice the window, so that a free place is next to any token. */
  private readonly inflight: (Publication | undefined)[];
  private readonly mask: number;
  private lastToken = 0;
  /** Places taken in `inflight`. */
  private count = 0;
  /** Payload of what is in flight. */
  private bytes = 0;
  private waiting: Publication[] = [];
  private waitingHead = 0;
  private readonly prefix: string;
  private readonly subscription: FrameSubscription;
  private readonly sweeper: NodeJS.Timeout;
  private closed = false;
  private roomListeners: (() => void)[] = [];

  constructor(
    inbound: Inbound,
    private readonly outbox: Outbox,
    private readonly options: PublisherOptions,
    private connected: boolean,
  ) {
    const places = 2 ** Math.ceil(Math.log2(2 * options.window));
    this.inflight = new Array(places).fill(undefined);
    this.mask = places - 1;
    this.prefix = `${inbound.newInbox()}.`;
    this.subscription = inbound.subscribe(`${this.prefix}*`, (frame) => this.dispatch(frame));
    this.sweeper = setInterval(() => this.sweep(), SWEEP_MS);
    this.sweeper.unref();
  }

  /** How long a publish may take, retries included, in ms. */
  get timeoutMs(): number {
    return this.options.timeoutMs;
  }

  /** True when what is posted is sent now; else it waits for the link. */
  get linked(): boolean {
    return this.connected && !this.closed;
  }

  /** Publishes that are sent and not confirmed. */
  get pending(): number {
    return this.count;
  }

  /** Publishes that wait for a place in the window. */
  get queued(): number {
    return this.waiting.length - this.waitingHead;
  }

  /** True when a publish now would have to wait in line. */
  get full(): boolean {
    return this.queued > 0 || !this.hasPlace();
  }

  private hasPlace(): boolean {
    return this.count < this.options.window && this.bytes < MOST_BYTES;
  }

  /** As {@link post}, for one who awaits the confirmation; rejects with what `refused` is told. */
  publish(subject: string, data: Payload, headers?: Payload, stillWanted?: () => boolean): Promise<PubAck> {
    const publication = new AwaitedPublication(subject, data, headers, stillWanted);
    this.post(publication);
    return publication.stored;
  }

  /**
   * Stores a message. The headers must carry a message id or an expected sequence, or storing it twice must be harmless:
   * it is sent again when the answer is lost. The publication is told QueueFullError, WrongSequenceError, JetlaneError `payload-too-large`,
   * `publisher-overloaded`, `publish-timeout`, `no-responders`, `publish-refused`, `permission-denied` or `connection-closed` when it is not stored.
   */
  post(publication: Publication): void {
    const { subject } = publication;
    if (this.closed)
      return publication.refused(new JetlaneError('connection-closed', `cannot publish to ${subject}: the connection is closed`));
    publication.deadline = performance.now() + this.options.timeoutMs;
    if (!this.full) this.start(publication);
    else if (this.queued < this.options.maxWaiting) this.waiting.push(publication);
    else
      publication.refused(
        new JetlaneError('publisher-overloaded', `${this.queued} publishes already wait for the server; slow down and try again`, {
          details: { subject },
        }),
      );
  }

  /** As {@link post}, for what was sent by other means at `sentAt`, of `performance.now()`, and may be stored. */
  again(publication: Publication, sentAt: number): void {
    publication.doubt(sentAt);
    const objection = this.objection(publication);
    if (objection) publication.refused(objection);
    else this.post(publication);
  }

  /** Resolves when the window has room: producers that await it never pile up more than the window. */
  async room(): Promise<void> {
    while (!this.closed && this.full) {
      await new Promise<void>((resolve) => this.roomListeners.push(resolve));
    }
  }

  /** The link is up again: everything unconfirmed is sent once more, in its order. */
  linkUp(): void {
    this.connected = true;
    for (const publication of this.outstanding()) {
      // What was published while there was no link was never sent.
      if (publication.retryAt === 0 && publication.sentAt > 0) publication.doubt(publication.sentAt);
      this.send(publication);
    }
  }

  /** The link broke: nothing is sent until it is back, since the client would lose it silently. */
  linkDown(): void {
    this.connected = false;
  }

  /** The user may not publish there. @returns whether something was on its way there */
  denied({ operation, subject, error }: Denial): boolean {
    if (operation !== 'publish') return false;
    const refused = this.outstanding((publication) => publication.subject === subject);
    for (const publication of refused) {
      this.finish(publication);
      publication.refused(error);
    }
    return refused.length > 0;
  }

  /** Rejects what is outstanding. May be called twice. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    clearInterval(this.sweeper);
    this.subscription.unsubscribe();
    const left = [...this.outstanding(), ...this.waiting.slice(this.waitingHead)];
    this.inflight.fill(undefined);
    this.count = 0;
    this.waiting = [];
    this.waitingHead = 0;
    for (const publication of left)
      publication.refused(
        new JetlaneError(
          'connection-closed',
          `the connection was closed before ${publication.subject} was confirmed; whether it is stored is unknown`,
        ),
      );
    this.wake();
  }

  /** What is in flight, the oldest sending first. */
  private outstanding(which: (publication: Publication) => boolean = () => true): Publication[] {
    const found: Publication[] = [];
    if (this.count > 0) for (const publication of this.inflight) if (publication && which(publication)) found.push(publication);
    return found.sort((a, b) => a.token - b.token);
  }

  private start(publication: Publication): void {
    this.count++;
    this.bytes += publication.data.length;
    this.open(publication);
    if (this.connected) this.transmit(publication);
  }

  /** Gives it a token that no answer of an earlier sending can bear, and its place. */
  private open(publication: Publication): void {
    while (this.inflight[++this.lastToken & this.mask] !== undefined);
    publication.token = this.lastToken;
    this.inflight[this.lastToken & this.mask] = publication;
  }

  private send(publication: Publication): void {
    const objection = this.objection(publication);
    if (objection) {
      this.finish(publication);
      return publication.refused(objection);
    }
    publication.retryAt = 0;
    this.inflight[publication.token & this.mask] = undefined;
    this.open(publication);
    this.transmit(publication);
  }

  /** Why it must not be sent now, after a wait or a second time. */
  private objection(publication: Publication): JetlaneError | undefined {
    const { subject, doubtfulSince } = publication;
    if (!publication.stillWanted()) return abandonedError(subject, doubtfulSince > 0);
    if (doubtfulSince === 0) return undefined;
    const since = performance.now() - doubtfulSince;
    return since > (this.options.repeatMs ?? REPEAT_MS) ? forgottenError(subject, since) : undefined;
  }

  private transmit(publication: Publication): void {
    const { subject, data, headers, token } = publication;
    publication.sentAt = performance.now();
    try {
      this.outbox.push(subject, this.prefix + token, data, headers);
    } catch (error) {
      this.finish(publication);
      publication.refused(publishError(subject, error));
    }
  }

  private dispatch(frame: Frame): void {
    const token = frame.subjectNumber(this.prefix.length);
    const publication = this.inflight[token & this.mask];
    if (publication?.token !== token || publication.retryAt > 0) return;
    const sequence = plainSequence(frame);
    if (sequence > 0) {
      this.finish(publication);
      publication.confirmed({ seq: sequence });
    } else if (frame.bodyAt === frame.end && statusCode(frame.headers) === 503) this.retryLater(publication);
    else this.answered(publication, parseAnswer(frame.text));
  }

  private answered(publication: Publication, answer: ApiAnswer | undefined): void {
    if (answer?.error && isPassing(answer.error)) return this.retryLater(publication);
    this.finish(publication);
    // Somebody else may listen on the subject and reply: only a sequence is a confirmation.
    if (answer && !answer.error && typeof answer.seq === 'number') publication.confirmed(answer);
    else publication.refused(refusal(publication.subject, answer?.error, this.options.sharedLimits));
  }

  private retryLater(publication: Publication): void {
    const delay = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(publication.refusals++, 5));
    publication.retryAt = performance.now() + delay * (0.5 + Math.random());
  }

  private finish(publication: Publication): void {
    this.inflight[publication.token & this.mask] = undefined;
    publication.token = 0;
    this.count--;
    this.bytes -= publication.data.length;
    while (this.queued > 0 && this.hasPlace()) this.startWaiting(this.shift());
    if (this.queued === 0) this.wake();
  }

  private startWaiting(publication: Publication): void {
    const objection = this.objection(publication);
    if (objection) publication.refused(objection);
    else this.start(publication);
  }

  private shift(): Publication {
    const next = this.waiting[this.waitingHead++]!;
    if (this.waitingHead > 1024 && this.waitingHead * 2 > this.waiting.length) {
      this.waiting = this.waiting.slice(this.waitingHead);
      this.waitingHead = 0;
    } else if (this.waitingHead === this.waiting.length) {
      this.waiting = [];
      this.waitingHead = 0;
    }
    return next;
  }

  private wake(): void {
    if (this.roomListeners.length === 0) return;
    const listeners = this.roomListeners;
    this.roomListeners = [];
    for (const listener of listeners) listener();
  }

  /**
   * Deadlines are looked at together, not timed one by one: a timer per publish cost as much as the publish. Timers come before the
   * socket is read: after a standstill of this process the answers may be there already, so the look waits until behind the reading.
   */
  private sweep(): void {
    const now = performance.now();
    setImmediate(() => this.look(now));
  }

  private look(now: number): void {
    const due = (p: Publication) => now >= p.deadline || (p.retryAt > 0 ? now >= p.retryAt : now - p.sentAt > SILENCE_MS);
    for (const publication of this.outstanding(due)) {
      if (now >= publication.deadline) this.expire(publication);
      else if (this.connected) {
        if (publication.retryAt === 0) publication.doubt(publication.sentAt);
        this.send(publication);
      }
    }
    while (this.queued > 0 && now >= this.waiting[this.waitingHead]!.deadline) this.expireWaiting(this.shift());
  }

  private expire(publication: Publication): void {
    this.finish(publication);
    // Waiting for its next try, every earlier one refused: then it is surely not stored.
    const refused = publication.retryAt > 0 && publication.doubtfulSince === 0;
    publication.refused(timeoutError(publication.subject, this.options.timeoutMs, refused));
  }

  private expireWaiting(publication: Publication): void {
    publication.refused(timeoutError(publication.subject, this.options.timeoutMs, false));
  }
}
