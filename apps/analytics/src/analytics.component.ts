import { type Connection, provisionBase, type StoredMessage, StreamFollower } from '@jetlane/jetstream';
import { type AnalyticsStats, type Component, type ServiceContext, serveCommand } from '@jetlane/nestjs/service';
import { isQueueName, JetlaneError } from '@jetlane/protocol';
import { z } from 'zod';
import { BaseKeeper } from './base-keeper.js';
import { BASE_ID } from './base-record.js';
import { decodeBase, decodeHeartbeat, decodeSnapshot } from './decode.js';
import { Ledger } from './ledger.js';
import { LiveWorkers } from './live-workers.js';
import { observeTasks, renderTimes } from './prometheus.js';
import { statsOf } from './stats.js';

/** What a test may want smaller. */
export interface AnalyticsOptions {
  /** Length of the window in seconds. Default 60. */
  readonly windowSeconds?: number;
  /** Silence after which a worker is folded into its queue's base, in ms. Default one hour. */
  readonly foldAfterMs?: number;
  /** Silence of heartbeats after which a worker is taken for gone, in ms. Default 3,500. */
  readonly silentMs?: number;
  /** Interval of folding rounds, in ms. Default one minute. */
  readonly foldEveryMs?: number;
}

/** The follower asks every second; silent for longer, the figures are old. */
const STALE_MS = 10_000;

const query = z.strictObject({ queue: z.string().refine(isQueueName, 'expected a queue name').optional() }).default({});

/**
 * Merges what workers report: reads their snapshots from the stream `metrics`, listens to heartbeats, answers
 * `analytics.stats`. It counts no task itself and owns no state but the bases of the past, so any number may run.
 */
export class Analytics implements Component {
  private readonly connection: Connection;
  private readonly ledger: Ledger;
  private readonly live: LiveWorkers;
  private readonly keeper: BaseKeeper;
  private readonly follower: StreamFollower;
  private readonly stops: (() => unknown)[] = [];

  constructor(
    private readonly context: Pick<ServiceContext, 'connection' | 'logger' | 'health' | 'meter' | 'metrics'>,
    private readonly options: AnalyticsOptions = {},
  ) {
    this.connection = context.connection;
    this.ledger = new Ledger(options.windowSeconds ?? 60);
    this.live = new LiveWorkers(options.silentMs);
    this.keeper = new BaseKeeper(this.connection, this.live, options.foldAfterMs);
    const { names } = this.connection;
    this.follower = new StreamFollower(this.connection, {
      stream: names.metrics,
      subject: names.pattern('metrics.>'),
      wakeOn: names.pattern('metrics.>'),
      onMessage: (message) => this.read(message),
      onError: (err) => context.logger.warn({ err }, 'metrics:unreadable'),
    });
  }

  async start(): Promise<void> {
    const { connection, context } = this;
    const { names } = connection;
    await provisionBase(connection);
    this.stops.push(connection.subscribe(names.pattern('heartbeats.*.*'), (message) => this.hear(message)));
    connection.send(names.heartbeatPing());
    this.follower.start();
    await this.follower.caughtUp;
    this.ledger.goLive();
    this.stops.push(context.health.add('metrics', () => this.followed()));
    observeTasks(context.meter, this.ledger, this.live);
    this.stops.push(context.metrics.add(() => renderTimes(this.ledger)));
    this.stops.push(serveCommand(connection, 'analytics', 'stats', async (input) => this.stats(input)));
    const timer = setInterval(() => void this.fold(), this.options.foldEveryMs ?? 60_000);
    this.stops.push(() => clearInterval(timer));
    context.logger.info({ queues: this.ledger.queueNames().length, position: this.follower.position }, 'analytics:caught-up');
  }

  async stop(): Promise<void> {
    for (const stop of this.stops.splice(0).reverse()) stop();
    await this.follower.stop();
  }

  /** Figures of all queues that are known, or of the one asked for. */
  stats(input?: unknown): AnalyticsStats[] {
    const parsed = query.safeParse(input);
    if (!parsed.success)
      throw new JetlaneError('invalid-argument', 'expected { queue?: string }', { details: { issues: parsed.error.issues } });
    const live = this.live.byQueue();
    const known = new Set([...this.ledger.queueNames(), ...live.keys()]);
    const queues = parsed.data.queue === undefined ? [...known].sort() : [parsed.data.queue];
    return queues.map((queue) => statsOf(this.ledger, queue, live.get(queue)));
  }

  private followed(): { up: boolean; position: number } {
    return { up: performance.now() - this.follower.answeredAt < STALE_MS, position: this.follower.position };
  }

  private read(message: StoredMessage): void {
    const [, id] = this.connection.names.tokens(message.subject);
    if (id === BASE_ID) {
      const base = decodeBase(message);
      if (!base) return;
      this.ledger.base(base);
      this.keeper.sawBase(base);
      return;
    }
    const snapshot = decodeSnapshot(message);
    if (!snapshot) {
      this.context.logger.warn({ subject: message.subject }, 'metrics:undecodable');
      return;
    }
    this.ledger.report(snapshot);
    this.keeper.saw(message, snapshot);
  }

  private hear(message: { readonly data: Uint8Array }): void {
    const beat = decodeHeartbeat(message);
    if (beat) this.live.heard(beat);
  }

  private async fold(): Promise<void> {
    try {
      const workers = await this.keeper.round();
      if (workers > 0) this.context.logger.info({ workers }, 'metrics:folded');
    } catch (err) {
      this.context.logger.warn({ err }, 'metrics:fold-failed');
    }
  }
}
