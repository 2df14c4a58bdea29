import { type Connection, type Delivery, PullLoop, type PullLoopHealth, provisionBase } from '@jetlane/jetstream';
import { type Advisory, isOutdated, readAdvisory } from './advisory.js';
import { LaneConsumers } from './lane-consumers.js';
import { OrphanMover } from './orphan-mover.js';
import type { Queues } from './queues.js';
import { Sweeper } from './sweeper.js';

export interface ResiliencyOptions {
  readonly queues: Pick<Queues, 'keepMs'>;
  readonly log: { warn(facts: object, event: string): void };
  /** Told of every dead letter that was stored here. */
  readonly onDead?: (queue: string, reason: string) => void;
  /** Pause between two sweeps, in ms. Default 10,000. */
  readonly sweepMs?: number;
}

/** Advisories in hand at a time: several movers share the consumer's limit of 256. */
const SLOTS = 64;

/** Turns what the server gave up into dead letters: by its advisories, and by sweeps where those were lost. */
export class Resiliency {
  private readonly consumers: LaneConsumers;
  private readonly mover: OrphanMover;
  private readonly loop: PullLoop;
  private readonly sweeper: Sweeper;

  constructor(
    private readonly connection: Connection,
    private readonly options: ResiliencyOptions,
  ) {
    const { names } = connection;
    this.consumers = new LaneConsumers(connection);
    this.mover = new OrphanMover(connection, { keepMs: options.queues.keepMs, ...(options.onDead ? { onDead: options.onDead } : {}) });
    this.sweeper = new Sweeper(connection, { mover: this.mover, intervalMs: options.sweepMs, log: options.log });
    this.loop = new PullLoop(connection, {
      stream: names.advisories,
      consumer: names.resiliencyConsumer,
      slots: SLOTS,
      handle: (delivery) => this.handle(delivery),
      onError: (error) => options.log.warn({ error: error instanceof Error ? error.message : String(error) }, 'advisory:not-handled'),
      repair: () => provisionBase(connection),
    });
  }

  async start(): Promise<void> {
    await provisionBase(this.connection);
    this.loop.start();
    this.sweeper.start();
  }

  /** Takes no more and finishes what is in hand. */
  async stop(): Promise<void> {
    await this.sweeper.stop();
    await this.loop.stop();
  }

  /** One sweep now. @returns how many orphans were dealt with */
  sweep(): Promise<number> {
    return this.sweeper.sweep();
  }

  health(): PullLoopHealth {
    return this.loop.health();
  }

  // Crash before the ack, at whatever step of the move: the advisory comes again and the move goes on where it stopped.
  // Tests: resiliency-crash.spec.
  private async handle(delivery: Delivery): Promise<void> {
    const advisory = readAdvisory(delivery);
    if (!advisory) this.options.log.warn({ subject: delivery.subject }, 'advisory:unreadable');
    else if (!(await this.isOutdated(advisory))) await this.mover.move(advisory);
    if (this.loop.holds(delivery)) this.connection.ack(delivery);
  }

  /** A state that is a second old may be older than the advisory: a verdict against it is checked on a fresh one. */
  private async isOutdated(advisory: Advisory): Promise<boolean> {
    if (!isOutdated(advisory, await this.consumers.get(advisory))) return false;
    return isOutdated(advisory, await this.consumers.get(advisory, 0));
  }
}
