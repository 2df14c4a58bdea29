import { JetlaneError } from '@jetlane/protocol';
import type { Msg, NatsConnection } from '@nats-io/nats-core';
import { Outbox, type Payload } from './outbox.js';
import { type ApiError, isPassing, publishError, refusal, timeoutError } from './publish-errors.js';
import { ReplyInbox } from './reply-inbox.js';
import { headerBlock, statusCode, text } from './wire-message.js';

/** The server's confirmation that a message is stored. */
export interface PubAck {
  readonly stream: string;
  readonly seq: number;
  /** The message id was seen within the stream's duplicate window: nothing was stored now. */
  readonly duplicate?: boolean;
}

export interface PublisherOptions {
  /** Unacknowledged publishes at a time. */
  readonly window: number;
  /** How long a publish may take, retries included, in ms. */
  readonly timeoutMs: number;
  /** Publishes that may wait for a place in the window before new ones are refused. */
  readonly maxWaiting: number;
}

interface Pending {
  readonly subject: string;
  readonly data: Payload;
  readonly headers: Payload | undefined;
  readonly resolve: (ack: PubAck) => void;
  readonly reject: (error: Error) => void;
  readonly deadline: number;
  token: number;
  /** When to send again after a refusal that passes; 0 while an answer is awaited. */
  retryAt: number;
  refusals: number;
  /** Waits in the outbox. */
  outgoing: boolean;
  /** Was sent over a link that broke before the answer came: it may be stored, whatever comes after. */
  doubtful: boolean;
}

interface ApiAnswer extends PubAck {
  readonly error?: ApiError;
}

const SWEEP_MS = 50;
/** Payload outstanding beyond which publishes wait in line, whatever the window: large ones would fill the memory long before it. */
const MOST_BYTES = 64 * 1024 * 1024;
const FIRST_RETRY_MS = 25;
const LONGEST_RETRY_MS = 500;

/**
 * Publishes into JetStream with many confirmations outstanding: one inbox, a bounded window, callers beyond it wait in
 * line. What is unconfirmed when the link breaks is sent again after the reconnect under the same message id; what no
 * stream answers is sent again with backoff. After the deadline the outcome is unknown and the error says so.
 *
 * States of a publish: waiting → sent → confirmed | refused | timed out; sent → (reconnect, no responders) → sent.
 */
export class Publisher {
  private readonly inflight = new Set<Pending>();
  private outgoing: Pending[] = [];
  private waiting: Pending[] = [];
  private waitingHead = 0;
  /** Payload of what is in flight. */
  private bytes = 0;
  private readonly inbox: ReplyInbox<Pending>;
  private readonly sweeper: NodeJS.Timeout;
  private closed = false;
  private roomListeners: (() => void)[] = [];

  constructor(
    nats: NatsConnection,
    private readonly outbox: Outbox,
    private readonly options: PublisherOptions,
    private connected: boolean,
  ) {
    this.inbox = new ReplyInbox<Pending>(nats, (pending, message) => this.answered(pending, message));
    this.sweeper = setInterval(() => this.sweep(), SWEEP_MS);
    this.sweeper.unref();
  }

  /** Publishes that are sent and not confirmed. */
  get pending(): number {
    return this.inflight.size;
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
    return this.inflight.size < this.options.window && this.bytes < MOST_BYTES;
  }

  /**
   * Stores a message. The headers must carry a message id or an expected sequence, or storing it twice must be harmless:
   * it is sent again when the answer is lost.
   * @throws QueueFullError, WrongSequenceError, JetlaneError `payload-too-large`, `publisher-overloaded`, `publish-timeout`,
   * `no-responders`, `publish-refused`, `connection-closed`
   */
  publish(subject: string, data: Payload, headers?: Payload): Promise<PubAck> {
    return new Promise((resolve, reject) => {
      if (this.closed) return reject(new JetlaneError('connection-closed', `cannot publish to ${subject}: the connection is closed`));
      const pending: Pending = {
        subject,
        data,
        headers,
        resolve,
        reject,
        deadline: performance.now() + this.options.timeoutMs,
        token: 0,
        retryAt: 0,
        refusals: 0,
        outgoing: false,
        doubtful: false,
      };
      if (!this.full) this.start(pending);
      else if (this.queued < this.options.maxWaiting) this.waiting.push(pending);
      else
        reject(
          new JetlaneError('publisher-overloaded', `${this.queued} publishes already wait for the server; slow down and try again`, {
            details: { subject },
          }),
        );
    });
  }

  /** Resolves when the window has room: producers that await it never pile up more than the window. */
  async room(): Promise<void> {
    while (!this.closed && this.full) {
      await new Promise<void>((resolve) => this.roomListeners.push(resolve));
    }
  }

  /** The link is up again: everything unconfirmed is sent once more. */
  linkUp(): void {
    this.connected = true;
    for (const pending of this.inflight) {
      if (pending.token > 0 && pending.retryAt === 0) pending.doubtful = true;
      this.send(pending);
    }
  }

  /** The link broke: nothing is sent until it is back, since the client would lose it silently. */
  linkDown(): void {
    this.connected = false;
  }

  /** Sends at once what waits for the end of the turn. */
  flush(): void {
    this.transmitAll();
  }

  /** Rejects what is outstanding. May be called twice. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    clearInterval(this.sweeper);
    this.inbox.unsubscribe();
    const left = [...this.inflight, ...this.waiting.slice(this.waitingHead)];
    this.inflight.clear();
    this.waiting = [];
    this.waitingHead = 0;
    for (const { subject, reject } of left)
      reject(
        new JetlaneError('connection-closed', `the connection was closed before ${subject} was confirmed; whether it is stored is unknown`),
      );
    this.wake();
  }

  private start(pending: Pending): void {
    this.inflight.add(pending);
    this.bytes += pending.data.length;
    if (this.connected) this.send(pending);
  }

  /** Sent at the end of the turn, together with all else of the turn. */
  private send(pending: Pending): void {
    pending.retryAt = 0;
    if (pending.outgoing) return;
    pending.outgoing = true;
    if (this.outgoing.push(pending) === 1) setImmediate(() => this.transmitAll());
  }

  private transmitAll(): void {
    const batch = this.outgoing;
    this.outgoing = [];
    for (const pending of batch) {
      pending.outgoing = false;
      if (this.connected && this.inflight.has(pending)) this.transmit(pending);
    }
    this.outbox.flush();
  }

  private transmit(pending: Pending): void {
    if (pending.token) this.inbox.close(pending.token);
    pending.token = this.inbox.open(pending);
    const { subject, data, headers } = pending;
    try {
      this.outbox.push(subject, this.inbox.subject(pending.token), data, headers);
    } catch (error) {
      this.inbox.close(pending.token);
      this.finish(pending);
      pending.reject(publishError(pending.subject, error));
    }
  }

  private answered(pending: Pending, message: Msg): void {
    if (message.data.length === 0 && statusCode(headerBlock(message)) === 503) return this.retryLater(pending);
    const answer = parseAnswer(message.data);
    if (answer?.error && isPassing(answer.error)) return this.retryLater(pending);
    this.finish(pending);
    // Somebody else may listen on the subject and reply: only a sequence is a confirmation.
    if (answer && !answer.error && typeof answer.seq === 'number') pending.resolve(answer);
    else pending.reject(refusal(pending.subject, answer?.error));
  }

  private retryLater(pending: Pending): void {
    const delay = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(pending.refusals++, 5));
    pending.retryAt = performance.now() + delay * (0.5 + Math.random());
  }

  private finish(pending: Pending): void {
    if (this.inflight.delete(pending)) this.bytes -= pending.data.length;
    while (this.hasPlace() && this.queued > 0) this.start(this.shift());
    if (this.queued === 0) this.wake();
  }

  private shift(): Pending {
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

  /** Deadlines are looked at together, not timed one by one: a timer per publish cost as much as the publish. */
  private sweep(): void {
    const now = performance.now();
    for (const pending of this.inflight) {
      if (now >= pending.deadline) this.expire(pending);
      else if (pending.retryAt > 0 && now >= pending.retryAt && this.connected) this.send(pending);
    }
    while (this.queued > 0 && now >= this.waiting[this.waitingHead]!.deadline) this.expire(this.shift());
  }

  private expire(pending: Pending): void {
    this.inbox.close(pending.token);
    this.finish(pending);
    // Waiting for its next try, every earlier one refused: then it is surely not stored.
    const refused = pending.retryAt > 0 && !pending.doubtful;
    pending.reject(timeoutError(pending.subject, this.options.timeoutMs, refused));
  }
}

/** The usual form of a PubAck: `{"stream":"tasks_default_high", "seq":12}`. */
const PLAIN_ACK = /^\{"stream":"([\w-]+)",\s?"seq":(\d+)\}$/;

/** Reads the usual form without a JSON parser; anything else (domain, duplicate, error) goes through it. */
function parseAnswer(data: Uint8Array): ApiAnswer | undefined {
  const json = text(data);
  const plain = PLAIN_ACK.exec(json);
  if (plain) return { stream: plain[1]!, seq: Number(plain[2]) };
  try {
    return JSON.parse(json) as ApiAnswer;
  } catch {
    return undefined;
  }
}
