import { createInbox, type Msg, type NatsConnection, type Subscription } from '@nats-io/nats-core';
import { type Delivery, isDelivery, readDelivery } from './delivery.js';
import { listenerThrew } from './listener-error.js';
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

/** A consumer to pull from, and whom to tell. */
export interface PullerOptions {
  readonly stream: string;
  readonly consumer: string;
  readonly onDelivery: (delivery: Delivery) => void;
  /** A pull ended, by the server or because its heartbeats stayed away: open another. */
  readonly onEnd: (end: PullEnd) => void;
  /** The server keeps a pull open and has nothing for it: an idle heartbeat came. */
  readonly onIdle?: () => void;
  /** How long a `wait` pull stays open, in ms. Default 30,000. */
  readonly expiresMs?: number;
  /** Interval of idle heartbeats, in ms; two missed ones end the pull. Default 1,500. */
  readonly heartbeatMs?: number;
}

/** One inbox that carries one pull at a time: a delivery bears its own subject, so only the subscription tells whose it is. */
interface Channel {
  readonly inbox: string;
  readonly subscription: Subscription;
  /** Last token of the reply subject of the open pull, 0 when none is open. */
  pull: number;
  remaining: number;
  /** How long the server may be silent on the open pull, in ms. */
  patienceMs: number;
  /** `performance.now()` by which the server must have said something. */
  silentUntil: number;
  /** It said something since the last look. */
  heard: boolean;
}

const CHANNELS = 3;
const SWEEP_MS = 500;
const NOW_EXPIRES_MS = 1000;
/** Code of an end that the puller found by itself. */
export const MISSED_HEARTBEATS = 598;

/**
 * Pulls from one durable consumer by raw requests, at most three at a time. It counts what it asked for and what came,
 * so that it never asks for more than told; every 404, 408, 409, 503 and every silence ends a pull and is told to the
 * owner, who asks again.
 */
export class Puller {
  private channels: Channel[] = [];
  private readonly subject: string;
  private readonly ackPrefix: string;
  private sweeper: NodeJS.Timeout | undefined;
  private counter = 0;
  private epoch = 0;
  private sweptAt = 0;
  /** Messages asked for and not yet delivered. */
  open = 0;
  /** Messages delivered so far. */
  delivered = 0;

  constructor(
    private readonly nats: NatsConnection,
    private readonly options: PullerOptions,
  ) {
    this.subject = `$JS.API.CONSUMER.MSG.NEXT.${options.stream}.${options.consumer}`;
    this.ackPrefix = `$JS.ACK.${options.stream}.${options.consumer}.`;
  }

  /** (Re)starts on fresh inboxes: pulls of an earlier link find no listener and are dropped by the server. */
  start(epoch: number): void {
    this.stop();
    this.epoch = epoch;
    this.channels = Array.from({ length: CHANNELS }, () => this.openChannel());
    this.sweptAt = performance.now();
    this.sweeper = setInterval(() => this.sweep(), SWEEP_MS);
    this.sweeper.unref();
  }

  /** Stops listening. What the server still sends to the old inboxes has no listener and comes back after its lease. */
  stop(): void {
    clearInterval(this.sweeper);
    for (const { subscription } of this.channels) if (!this.nats.isClosed()) subscription.unsubscribe();
    this.channels = [];
    this.open = 0;
  }

  /** Leaves all pulls for fresh ones, on a link that stands: what the server had sent by then is still delivered. */
  rebuild(): void {
    const old = this.channels;
    this.channels = [];
    this.start(this.epoch);
    for (const channel of old) void leave(channel);
  }

  /**
   * Ends all pulls in good order: the server is told, and what it had sent by then is still delivered. Resolves when
   * nothing more can come. Then {@link stop}.
   */
  async drain(): Promise<void> {
    clearInterval(this.sweeper);
    const channels = this.channels;
    this.channels = [];
    this.open = 0;
    await Promise.all(channels.map(leave));
  }

  /**
   * Asks for up to `batch` messages.
   * @returns false when all channels are busy: ask again when a pull has ended
   */
  pull(batch: number, mode: PullMode): boolean {
    const channel = this.channels.find(({ pull }) => pull === 0);
    if (!channel) return false;
    const { expiresMs = 30_000 } = this.options;
    const request =
      mode === 'wait'
        ? `{"batch":${batch},"expires":${expiresMs}000000,"idle_heartbeat":${this.heartbeatMs}000000}`
        : `{"batch":${batch},"expires":${NOW_EXPIRES_MS}000000,"no_wait":true}`;
    channel.pull = ++this.counter;
    channel.remaining = batch;
    channel.patienceMs = mode === 'wait' ? 2 * this.heartbeatMs + SWEEP_MS : 4 * NOW_EXPIRES_MS;
    channel.silentUntil = performance.now() + channel.patienceMs;
    this.open += batch;
    this.nats.publish(this.subject, request, { reply: channel.inbox + channel.pull });
    return true;
  }

  /** Pulls that are open, as the server counts them. */
  get pulls(): number {
    return this.channels.filter(({ pull }) => pull !== 0).length;
  }

  private get heartbeatMs(): number {
    return this.options.heartbeatMs ?? 1500;
  }

  private openChannel(): Channel {
    const inbox = `${createInbox()}.`;
    const subscription = this.nats.subscribe(`${inbox}*`, {
      callback: (error, message) => void (error || this.received(channel, message)),
    });
    const channel: Channel = { inbox, subscription, pull: 0, remaining: 0, patienceMs: 0, silentUntil: 0, heard: false };
    return channel;
  }

  private received(channel: Channel, message: Msg): void {
    channel.heard = true;
    if (isDelivery(message)) {
      this.delivered++;
      this.count(channel);
      this.handOver(readDelivery(message, this.epoch, this.ackPrefix));
      return;
    }
    if (message.subject !== channel.inbox + channel.pull) return;
    const block = headerBlock(message);
    const code = statusCode(block);
    if (code === 100) this.options.onIdle?.();
    else this.end(channel, { code, text: statusText(block) });
  }

  private handOver(delivery: Delivery): void {
    try {
      this.options.onDelivery(delivery);
    } catch (error) {
      listenerThrew(`the listener on deliveries of ${this.options.stream}`, error);
    }
  }

  private count(channel: Channel): void {
    if (channel.pull === 0) return;
    this.open--;
    if (--channel.remaining === 0) channel.pull = 0;
  }

  private end(channel: Channel, end: PullEnd): void {
    this.open -= channel.remaining;
    channel.pull = 0;
    channel.remaining = 0;
    this.options.onEnd(end);
  }

  /**
   * The server sends heartbeats only while it has nothing to deliver, so a delivery is a sign of life too. A look that comes
   * late says nothing: this process was busy, and what the server said meanwhile is still to be read.
   */
  private sweep(): void {
    if (this.nats.isClosed() || this.nats.isDraining()) return clearInterval(this.sweeper);
    const now = performance.now();
    const late = now - this.sweptAt > 2 * SWEEP_MS;
    this.sweptAt = now;
    for (let i = 0; i < this.channels.length; i++) {
      const channel = this.channels[i]!;
      if (late || channel.heard) channel.silentUntil = now + channel.patienceMs;
      channel.heard = false;
      if (channel.pull !== 0 && now > channel.silentUntil) this.giveUp(channel, i);
    }
  }

  /** The server may still know the silent pull: without a listener it drops it, instead of filling it beside the next one. */
  private giveUp(channel: Channel, index: number): void {
    this.channels[index] = this.openChannel();
    this.end(channel, { code: MISSED_HEARTBEATS, text: 'missed idle heartbeats' });
    void leave(channel);
  }
}

/** Tells the server that nobody listens any more. Resolves when nothing more can come; what comes before is delivered. */
async function leave(channel: Channel): Promise<void> {
  channel.pull = 0;
  await channel.subscription.drain().catch(() => undefined);
}
