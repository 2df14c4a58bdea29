import type { NatsConnection } from '@nats-io/nats-core';
import { Delivery, isDelivery } from './delivery.js';
import type { Denial, Denials } from './denials.js';
import type { Frame } from './frame.js';
import type { FrameSubscription, Inbound } from './inbound.js';
import { listenerThrew } from './listener-error.js';
import { statusCode, statusText } from './wire-message.js';

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
  readonly subscription: FrameSubscription;
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
/** Code of the end of a pull that the user has no permission for. */
export const PULL_DENIED = 403;
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
  private forgetDenials: () => void = () => undefined;
  /** Messages asked for and not yet delivered. */
  open = 0;
  /** Messages delivered so far. */
  delivered = 0;

  constructor(
    private readonly nats: NatsConnection,
    private readonly inbound: Inbound,
    private readonly options: PullerOptions,
    private readonly denials: Denials,
  ) {
    this.subject = `$JS.API.CONSUMER.MSG.NEXT.${options.stream}.${options.consumer}`;
    this.ackPrefix = `$JS.ACK.${options.stream}.${options.consumer}.`;
  }

  /** (Re)starts on fresh inboxes: pulls of an earlier link find no listener and are dropped by the server. */
  start(epoch: number): void {
    this.stop();
    this.epoch = epoch;
    this.forgetDenials = this.denials.on((denial) => this.denied(denial));
    this.channels = Array.from({ length: CHANNELS }, () => this.openChannel());
    this.sweptAt = performance.now();
    this.sweeper = setInterval(() => this.sweep(), SWEEP_MS);
    this.sweeper.unref();
  }

  /** Stops listening. What the server still sends to the old inboxes has no listener and comes back after its lease. */
  stop(): void {
    clearInterval(this.sweeper);
    this.forgetDenials();
    for (const { subscription } of this.channels) subscription.unsubscribe();
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
    this.forgetDenials();
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
    const inbox = `${this.inbound.newInbox()}.`;
    const subscription = this.inbound.subscribe(`${inbox}*`, (frame) => this.received(channel, frame));
    const channel: Channel = { inbox, subscription, pull: 0, remaining: 0, patienceMs: 0, silentUntil: 0, heard: false };
    return channel;
  }

  private denied({ operation, subject, error }: Denial): boolean {
    if (operation !== 'publish' || subject !== this.subject) return false;
    for (const channel of this.channels) if (channel.pull !== 0) this.end(channel, { code: PULL_DENIED, text: error.message });
    return true;
  }

  private received(channel: Channel, frame: Frame): void {
    channel.heard = true;
    if (isDelivery(frame)) {
      this.delivered++;
      this.count(channel);
      this.handOver(new Delivery(frame, this.epoch, this.ackPrefix));
      return;
    }
    if (frame.subject !== channel.inbox + channel.pull) return;
    const block = frame.headers;
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

  /**
   * The server may still know the silent pull: without a listener it drops it, instead of filling it beside the next one. What it had sent by
   * then is delivered and counted against nothing: beyond what is open, at most what was left of the pull that was given up may come, and as
   * much again for each pull left by {@link rebuild}. Whoever takes deliveries must bear so many without a free slot.
   */
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
