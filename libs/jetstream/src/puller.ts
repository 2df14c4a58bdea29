import { createInbox, type Msg, type NatsConnection, type Subscription } from '@nats-io/nats-core';
import { type Delivery, isDelivery, readDelivery } from './delivery.js';
import { headerBlock, statusCode, statusText } from './wire-message.js';

/** Why a pull ended before it was filled. */
export interface PullEnd {
  readonly code: number;
  readonly text: string;
}

/**
 * `wait`: stays open until it is filled or expires, with idle heartbeats. `now`: takes what is there, or waits a second
 * for the first message; for lanes with a known backlog, so that a large promise never lingers on an empty lane.
 */
export type PullMode = 'wait' | 'now';

export interface PullerOptions {
  readonly stream: string;
  readonly consumer: string;
  readonly onDelivery: (delivery: Delivery) => void;
  /** A pull ended, by the server or because its heartbeats stayed away: open another. */
  readonly onEnd: (end: PullEnd) => void;
  /** How long a `wait` pull stays open, in ms. Default 30,000. */
  readonly expiresMs?: number;
  /** Interval of idle heartbeats, in ms; two missed ones end the pull. Default 1,500. */
  readonly heartbeatMs?: number;
}

interface OpenPull {
  remaining: number;
  /** `performance.now()` by which the server must have said something. */
  silentUntil: number;
}

const SWEEP_MS = 500;
const NOW_EXPIRES_MS = 1000;
/** Code of an end that the puller found by itself. */
export const MISSED_HEARTBEATS = 598;

/**
 * Pulls from one durable consumer by raw requests. It counts what it asked for and what came, so that it never asks for
 * more than told; every 404, 408, 409, 503 and every silence ends a pull and is told to the owner, who asks again.
 */
export class Puller {
  private readonly pulls = new Map<string, OpenPull>();
  private readonly subject: string;
  private inbox = '';
  private subscription: Subscription | undefined;
  private sweeper: NodeJS.Timeout | undefined;
  private counter = 0;
  private epoch = 0;
  /** Messages asked for and not yet delivered. */
  open = 0;

  constructor(
    private readonly nats: NatsConnection,
    private readonly options: PullerOptions,
  ) {
    this.subject = `$JS.API.CONSUMER.MSG.NEXT.${options.stream}.${options.consumer}`;
  }

  /** (Re)starts on a fresh inbox: pulls of an earlier link find no listener and are dropped by the server. */
  start(epoch: number): void {
    this.stop();
    this.epoch = epoch;
    this.inbox = `${createInbox()}.`;
    this.subscription = this.nats.subscribe(`${this.inbox}*`, { callback: (error, message) => void (error || this.received(message)) });
    this.sweeper = setInterval(() => this.sweep(), SWEEP_MS);
    this.sweeper.unref();
  }

  /** Stops listening. What the server still sends to the old inbox has no listener and comes back after its lease. */
  stop(): void {
    clearInterval(this.sweeper);
    this.subscription?.unsubscribe();
    this.subscription = undefined;
    this.pulls.clear();
    this.open = 0;
  }

  /** Asks for up to `batch` messages. */
  pull(batch: number, mode: PullMode): void {
    const id = (this.counter++).toString(36);
    const { expiresMs = 30_000, heartbeatMs = 1500 } = this.options;
    const request =
      mode === 'wait'
        ? `{"batch":${batch},"expires":${expiresMs}000000,"idle_heartbeat":${heartbeatMs}000000}`
        : `{"batch":${batch},"expires":${NOW_EXPIRES_MS}000000,"no_wait":true}`;
    this.pulls.set(id, { remaining: batch, silentUntil: performance.now() + (mode === 'wait' ? 2 * heartbeatMs + SWEEP_MS : 3 * NOW_EXPIRES_MS) });
    this.open += batch;
    this.nats.publish(this.subject, request, { reply: this.inbox + id });
  }

  private received(message: Msg): void {
    const id = message.subject.slice(this.inbox.length);
    const pull = this.pulls.get(id);
    if (isDelivery(message)) {
      if (pull) this.count(id, pull);
      this.options.onDelivery(readDelivery(message, this.epoch));
      return;
    }
    const block = headerBlock(message);
    const code = statusCode(block);
    if (code === 100) {
      if (pull) this.heard(pull);
    } else if (pull) this.end(id, pull, { code, text: statusText(block) });
  }

  private count(id: string, pull: OpenPull): void {
    this.open--;
    if (--pull.remaining === 0) this.pulls.delete(id);
  }

  private heard(pull: OpenPull): void {
    pull.silentUntil = performance.now() + 2 * (this.options.heartbeatMs ?? 1500) + SWEEP_MS;
  }

  private end(id: string, pull: OpenPull, end: PullEnd): void {
    this.pulls.delete(id);
    this.open -= pull.remaining;
    this.options.onEnd(end);
  }

  private sweep(): void {
    const now = performance.now();
    for (const [id, pull] of this.pulls) {
      if (now > pull.silentUntil) this.end(id, pull, { code: MISSED_HEARTBEATS, text: 'missed idle heartbeats' });
    }
  }
}
