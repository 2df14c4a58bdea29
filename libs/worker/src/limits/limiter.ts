import { randomBytes } from 'node:crypto';
import { type Connection, openQueueBucket } from '@jetlane/jetstream';
import { parseQueueDefinition, type QueueDefinition } from '@jetlane/protocol';
import type { HeldTask } from '../held-task.js';
import { type CompiledOptions, limitsFor, slotsFor, type WorkerLimits } from '../options.js';
import { ShareExchange } from './exchange.js';
import { Gate, type GateLoad } from './gate.js';
import { ShareKeeper } from './shares.js';

/** How long a task is parked before it goes back to its lane, where others may take it, in ms. */
const LONGEST_PARKED_MS = 5000;

/** What the limiter sets in the fetch loop. */
export interface LimitedLoop {
  /** Slots of this worker. */
  slots: number;
  /** Set while the queue has limits or reserved slots. */
  gate: Gate | undefined;
  readonly load: Pick<GateLoad, 'wants'>;
  /** Looks again at what may start. */
  wake(): void;
  /** Tasks that were parked may start. */
  unpark(tasks: readonly HeldTask[]): void;
  /** Parked tasks go back to their lane. */
  putAway(tasks: readonly HeldTask[]): void;
}

/** A gate and its link to the other workers, for as long as the queue has limits or reserved slots. */
interface Limited {
  readonly gate: Gate;
  readonly keeper: ShareKeeper;
  exchange?: ShareExchange;
}

/**
 * Keeps the limits of the queue's definition, as it is and as it is changed in the bucket `queues`, and those of the worker.
 * States: new → running (start) → stopped (stop).
 */
export class Limiter {
  private definition: QueueDefinition | undefined;
  private limited: Limited | undefined;
  private stopWatch: (() => void) | undefined;
  private stopListening: (() => void) | undefined;
  private opening: Promise<void> | undefined;
  private stopped = false;
  private readonly closing = new Set<Promise<void>>();
  /** Told of every other definition, before its limits hold. */
  onDefinition: (definition: QueueDefinition) => void = () => undefined;

  constructor(
    private readonly connection: Connection,
    private readonly options: CompiledOptions,
    private readonly loop: LimitedLoop,
    private own: WorkerLimits,
    private readonly running: () => Iterable<HeldTask>,
  ) {}

  /** Sets the limits, before the first task can start, and follows the definition from here on. */
  start(definition: QueueDefinition): void {
    this.apply(definition);
    this.stopListening = this.connection.onState((state) => state === 'connected' && this.follow());
    this.follow();
  }

  /** Ends it, when no task runs any more; shares are free for others at once. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.stopListening?.();
    await this.opening;
    this.stopWatch?.();
    this.lift();
    await Promise.all(this.closing);
  }

  /** Other limits of this worker from now on. */
  adjust(own: WorkerLimits): void {
    this.own = { ...this.own, ...own };
    if (this.definition) this.apply(this.definition);
  }

  private follow(): void {
    if (this.opening || this.stopped) return;
    this.opening = this.watch()
      .catch((error: unknown) => {
        this.options.log.warn({ queue: this.options.queue, error: String(error) }, 'definition:not-followed');
        setTimeout(() => this.follow(), 1000).unref();
      })
      .finally(() => {
        this.opening = undefined;
      });
  }

  private async watch(): Promise<void> {
    this.stopWatch?.();
    this.stopWatch = undefined;
    const bucket = await openQueueBucket(this.connection);
    const { stop } = await bucket.watch(({ value }) => this.changed(value), this.options.queue);
    this.stopWatch = stop;
  }

  /** A definition that is deleted or does not fit changes nothing here. */
  private changed(value: unknown): void {
    if (value === undefined || this.stopped) return;
    try {
      const definition = parseQueueDefinition(value);
      this.onDefinition(definition);
      this.apply(definition);
    } catch (error) {
      this.options.log.warn({ queue: this.options.queue, error: String(error) }, 'definition:not-valid');
    }
  }

  private apply(definition: QueueDefinition): void {
    this.definition = definition;
    const { defaults, ceiling, defaultSlots } = this.options;
    const { reserved } = definition;
    const limits = limitsFor(definition, defaults, ceiling);
    this.loop.slots = slotsFor(
      definition,
      { defaults, ceiling, ...(this.own.concurrency === undefined ? {} : { concurrency: this.own.concurrency }) },
      defaultSlots,
    );
    if (limits === undefined && reserved === undefined && this.own.rate === undefined) this.lift();
    else {
      this.limited ??= this.limit();
      this.loop.unpark(this.limited.gate.configure({ limits, reserved, rate: this.own.rate }));
      this.connect(this.limited);
    }
    this.loop.wake();
  }

  private limit(): Limited {
    const keeper = new ShareKeeper(`${this.options.name}-${randomBytes(4).toString('hex')}`);
    const limited: Limited = {
      keeper,
      gate: new Gate(keeper, { ...this.loop.load, needShare: () => limited.exchange?.hurry(), running: this.running }),
    };
    this.loop.gate = limited.gate;
    return limited;
  }

  private lift(): void {
    if (!this.limited) return;
    const { gate, exchange } = this.limited;
    this.limited = undefined;
    this.loop.gate = undefined;
    this.loop.unpark(gate.unpark());
    if (exchange) this.close(exchange);
  }

  /** Limits of this worker alone need nobody else. */
  private connect(limited: Limited): void {
    const { gate, keeper, exchange } = limited;
    if (!gate.shared) {
      if (exchange) this.close(exchange);
      delete limited.exchange;
    } else if (!exchange) {
      const { connection, options, loop } = this;
      limited.exchange = new ShareExchange({
        connection,
        queue: options.queue,
        keeper,
        log: options.log,
        beat: (now) => this.beat(gate, now),
        changed: (offered) => {
          gate.offered(offered, performance.now());
          loop.wake();
        },
      });
      limited.exchange.start();
    }
  }

  private close(exchange: ShareExchange): void {
    const closed = exchange.stop().finally(() => this.closing.delete(closed));
    this.closing.add(closed);
  }

  private beat(gate: Gate, now: number): number {
    gate.sweep(now);
    this.loop.putAway(gate.unpark(Date.now() - LONGEST_PARKED_MS));
    return gate.spare;
  }
}
