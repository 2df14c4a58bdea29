import { JetlaneError } from '@jetlane/protocol';
import type { Connection, ConnectionState } from './connection.js';
import type { Delivery } from './delivery.js';
import { type ConsumerState, consumerState } from './lane-list.js';
import { MISSED_HEARTBEATS, type PullEnd, type Puller } from './puller.js';

/** What a pull loop needs. */
export interface PullLoopOptions {
  readonly stream: string;
  readonly consumer: string;
  /** Deliveries in hand at a time. */
  readonly slots: number;
  /** Deals with one delivery and settles it. What it throws is told to `onError`, and the delivery is left to its lease. */
  readonly handle: (delivery: Delivery) => Promise<void>;
  readonly onError: (error: unknown, delivery: Delivery) => void;
  /** The consumer is gone: make it again. */
  readonly repair: () => Promise<void>;
  /** How long a delivery may be in hand before its lease is extended, and again, in ms. Default 3,000. */
  readonly extendMs?: number;
  /** Silence after which the loop asks the server whether it is being served, in ms. Default 5,000. */
  readonly silenceMs?: number;
}

/** How a loop fares. `stuck` counts looks in a row that found work which nobody brings. */
export interface PullLoopHealth {
  readonly up: boolean;
  readonly inHand: number;
  readonly open: number;
  readonly stuck: number;
  readonly refused?: string;
}

const TICK_MS = 1000;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1000;
const STUCK_LIMIT = 3;

/**
 * Keeps a bounded number of deliveries of one consumer in hand. It opens a new pull whenever one ends, for whatever
 * reason; starts afresh after a reconnect; extends leases; and rebuilds itself when the server has work and brings none.
 *
 * States: idle → running (start) → draining (stop) → stopped.
 */
export class PullLoop {
  private state: 'idle' | 'running' | 'draining' | 'stopped' = 'idle';
  private readonly puller: Puller;
  private readonly held = new Map<Delivery, { extendedAt: number }>();
  private readonly settledListeners: (() => void)[] = [];
  private forgetConnection: () => void = () => undefined;
  private ticker: NodeJS.Timeout | undefined;
  private turnScheduled = false;
  private pausedUntil = 0;
  private refusals = 0;
  private lastRefusal: PullEnd | undefined;
  private lastDelivery = performance.now();
  private repairing: Promise<void> | undefined;
  private looking = false;
  private lookedAt = 0;
  private stuck = 0;

  constructor(
    private readonly connection: Connection,
    private readonly options: PullLoopOptions,
  ) {
    const { stream, consumer } = options;
    this.puller = connection.puller({
      stream,
      consumer,
      onDelivery: (delivery) => this.delivered(delivery),
      onEnd: (end) => this.ended(end),
    });
  }

  /** Begins to pull. Call it once. */
  start(): void {
    this.state = 'running';
    this.forgetConnection = this.connection.onState((state) => this.linkChanged(state));
    this.ticker = setInterval(() => this.tick(), TICK_MS);
    this.ticker.unref();
    this.rebuild();
  }

  /**
   * Takes no more, hands back what comes late, and waits for what is in hand.
   * @param graceMs longest wait; what is still in hand then is left to its lease
   */
  async stop(graceMs = 8000): Promise<void> {
    if (this.state !== 'running') return;
    this.state = 'draining';
    if (this.connection.state === 'connected') await Promise.race([this.puller.drain(), delay(1000)]);
    this.puller.stop();
    if (this.held.size > 0) await Promise.race([new Promise<void>((resolve) => this.settledListeners.push(resolve)), delay(graceMs)]);
    clearInterval(this.ticker);
    this.forgetConnection();
    this.held.clear();
    this.state = 'stopped';
  }

  /** True while the delivery is in hand: what {@link stop} did not wait for may be another's by now, and is not acked any more. */
  holds(delivery: Delivery): boolean {
    return this.held.has(delivery);
  }

  /** Whether it gets what there is, and what it has in hand. */
  health(): PullLoopHealth {
    const refused = this.refusals > 0 && this.lastRefusal ? { refused: `${this.lastRefusal.code} ${this.lastRefusal.text}` } : {};
    const up = this.state === 'running' && this.connection.state === 'connected' && this.refusals < STUCK_LIMIT && this.stuck < STUCK_LIMIT;
    return { up, inHand: this.held.size, open: this.puller.open, stuck: this.stuck, ...refused };
  }

  private rebuild(): void {
    this.puller.start(this.connection.epoch);
    this.askAnew();
  }

  private askAnew(): void {
    this.pausedUntil = 0;
    this.lastDelivery = performance.now();
    this.schedule();
  }

  private linkChanged(state: ConnectionState): void {
    if (state === 'connected' && this.state === 'running') this.rebuild();
  }

  private delivered(delivery: Delivery): void {
    this.lastDelivery = performance.now();
    this.refusals = 0;
    this.stuck = 0;
    if (this.state !== 'running') {
      // The consumer has no limit of deliveries, so handing back costs nothing and spares the task the wait for its lease.
      this.connection.nak(delivery);
      return;
    }
    this.held.set(delivery, { extendedAt: this.lastDelivery });
    void this.options
      .handle(delivery)
      .catch((error: unknown) => this.options.onError(error, delivery))
      .finally(() => this.release(delivery));
  }

  private release(delivery: Delivery): void {
    this.held.delete(delivery);
    if (this.state === 'running') this.schedule();
    else if (this.held.size === 0) for (const listener of this.settledListeners.splice(0)) listener();
  }

  private schedule(): void {
    if (this.turnScheduled) return;
    this.turnScheduled = true;
    setImmediate(() => this.turn());
  }

  /** Asks for a quarter of the slots or more at a time, so that a busy loop does not send a request per delivery. */
  private turn(): void {
    this.turnScheduled = false;
    if (this.state !== 'running' || this.connection.state !== 'connected' || performance.now() < this.pausedUntil) return;
    const free = this.options.slots - this.held.size - this.puller.open;
    if (free > 0 && (this.puller.open === 0 || free >= this.options.slots / 4)) this.puller.pull(free, 'wait');
  }

  /** 404 and 408 are ordinary ends; anything else means that the consumer moved, went or fell silent. */
  private ended(end: PullEnd): void {
    if (end.code === 404 || end.code === 408) {
      this.refusals = 0;
      this.schedule();
      return;
    }
    this.lastRefusal = end;
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(this.refusals++, 5)) * (0.5 + Math.random());
    this.pausedUntil = performance.now() + pause;
    setTimeout(() => this.schedule(), pause + 1).unref();
    if (end.code === 503 || end.code === MISSED_HEARTBEATS || /deleted|not found/i.test(end.text)) void this.look();
  }

  private tick(): void {
    this.schedule();
    this.extendLeases();
    if (performance.now() - Math.max(this.lastDelivery, this.lookedAt) > (this.options.silenceMs ?? 5000)) void this.look();
  }

  private extendLeases(): void {
    const now = performance.now();
    for (const [delivery, lease] of this.held) {
      if (now - lease.extendedAt < (this.options.extendMs ?? 3000)) continue;
      if (this.connection.inProgress(delivery)) lease.extendedAt = now;
    }
  }

  /** No progress means: pulls are open, slots are free, and yet the server holds work back. Then everything is built anew. */
  private async look(): Promise<void> {
    if (this.looking || this.state !== 'running' || this.connection.state !== 'connected') return;
    this.looking = true;
    this.lookedAt = performance.now();
    try {
      const found = await consumerState(this.connection, this.options.stream, this.options.consumer);
      if (!found) await this.repair();
      this.judge(found);
    } catch (error) {
      // The API does not answer: the next look tries again, and health tells meanwhile.
      if (!(error instanceof JetlaneError)) this.stuck++;
    } finally {
      this.looking = false;
    }
  }

  private judge(found: ConsumerState | undefined): void {
    const silent = performance.now() - this.lastDelivery > (this.options.silenceMs ?? 5000);
    const held =
      !found || (found.pending > 0 && !found.paused && found.ackPending < found.maxAckPending && this.held.size < this.options.slots);
    if (held && (silent || !found)) {
      this.stuck++;
      if (this.state === 'running') {
        this.puller.rebuild();
        this.askAnew();
      }
    } else this.stuck = 0;
  }

  private repair(): Promise<void> {
    this.repairing ??= this.options.repair().finally(() => {
      this.repairing = undefined;
    });
    return this.repairing;
  }
}

const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref());
