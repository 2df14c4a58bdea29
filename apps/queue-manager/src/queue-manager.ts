import type { QueueStats } from '@jetlane/client';
import { type Connection, openLimitsBucket, provisionBase } from '@jetlane/jetstream';
import { DEFAULT_QUEUES, type QueueDefinition, UnknownQueueError } from '@jetlane/protocol';
import { DefinitionStore } from './definitions/definition-store.js';
import { LiveStats } from './live-stats.js';
import { Provisioner, type ProvisionerLog } from './provisioner.js';

export interface QueueManagerOptions {
  readonly log: ProvisionerLog;
  /** Queues that are defined at the start if nobody did. Default: `default`, `high_priority`, `low_priority`. */
  readonly defaults?: readonly QueueDefinition[];
  /** Pause between two polls of the live statistics, in ms. Default 1,000. */
  readonly pollMs?: number;
  /** Pause between two looks for what is missing, in ms. Default 30,000. */
  readonly reconcileMs?: number;
}

/** Keeps streams and consumers in step with the queue definitions, and the live view of all queues. */
export class QueueManager {
  readonly provisioner: Provisioner;
  readonly store: DefinitionStore;
  private readonly live: LiveStats;
  private stopWatching: () => void = () => undefined;
  private readonly timers = new Set<NodeJS.Timeout>();
  private readonly rounds = new Set<Promise<void>>();
  private stopped = false;

  constructor(
    private readonly connection: Connection,
    private readonly options: QueueManagerOptions,
  ) {
    this.provisioner = new Provisioner(connection, options.log);
    this.store = new DefinitionStore(connection);
    this.live = new LiveStats(connection, () => this.provisioner.all().map(({ name }) => name));
  }

  /** Resolves when the queues that are defined now stand, or have been tried. */
  async start(): Promise<void> {
    await provisionBase(this.connection);
    await openLimitsBucket(this.connection);
    await this.store.createNew(this.options.defaults ?? DEFAULT_QUEUES);
    const bucket = await this.store.bucket();
    const { ready, stop } = await bucket.watch(({ key, value }) =>
      value === undefined ? this.provisioner.forget(key) : this.provisioner.define(key, value),
    );
    this.stopWatching = stop;
    await ready;
    await this.provisioner.idle();
    await this.live.poll();
    this.repeat(this.options.pollMs ?? 1000, 'stats:not-polled', () => this.live.poll());
    this.repeat(this.options.reconcileMs ?? 30_000, 'queues:not-reconciled', async () => void (await this.reconcile()));
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.stopWatching();
    for (const timer of this.timers) clearTimeout(timer);
    await Promise.all(this.rounds);
    await this.provisioner.idle();
  }

  /** The live view of all queues, at most a poll old. @throws UnknownQueueError */
  stats(queue?: string): QueueStats[] {
    const known = this.provisioner.all().map(({ name }) => name);
    if (queue !== undefined && !known.includes(queue)) throw new UnknownQueueError(queue, known);
    return this.live.read(queue);
  }

  queues(): QueueDefinition[] {
    return this.provisioner.all();
  }

  /** Makes again what is missing, and puts back what somebody changed by hand. @returns the lanes that were repaired */
  async reconcile(): Promise<string[]> {
    const restored = await this.store.restore(this.provisioner.all());
    if (restored.length > 0) this.options.log.info({ restored }, 'definitions:restored');
    return this.provisioner.reconcile();
  }

  health(): { up: boolean; queues: number; statsAgeMs: number; failed: Record<string, string> } {
    const statsAgeMs = this.live.polledAt === 0 ? -1 : Date.now() - this.live.polledAt;
    const fresh = statsAgeMs >= 0 && statsAgeMs < 10 * (this.options.pollMs ?? 1000);
    return {
      up: !this.stopped && this.connection.state === 'connected' && fresh,
      queues: this.provisioner.all().length,
      statsAgeMs,
      failed: this.provisioner.failed(),
    };
  }

  /** Runs a round again and again, each a pause after the one before, with jitter: replicas shall not ask in step. */
  private repeat(pauseMs: number, event: string, round: () => Promise<void>): void {
    if (this.stopped) return;
    const timer = setTimeout(
      () => {
        this.timers.delete(timer);
        const run: Promise<void> = this.attempt(event, round).finally(() => {
          this.rounds.delete(run);
          this.repeat(pauseMs, event, round);
        });
        this.rounds.add(run);
      },
      pauseMs * (0.9 + 0.2 * Math.random()),
    );
    timer.unref();
    this.timers.add(timer);
  }

  private async attempt(event: string, round: () => Promise<void>): Promise<void> {
    if (this.connection.state !== 'connected') return;
    await round().catch((error: unknown) =>
      this.options.log.error({ error: error instanceof Error ? error.message : String(error) }, event),
    );
  }
}
