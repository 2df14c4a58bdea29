import { type Connection, connect, provisionBase } from '@jetlane/jetstream';
import { type AnalyticsStats, callService, type RunningService, readServiceConfig, startService } from '@jetlane/nestjs/service';
import type { CountedOutcome, Heartbeat, Lane, MetricsSnapshot } from '@jetlane/protocol';
import { Histogram } from '@jetlane/telemetry';
import { type NatsServer, startNatsServer, waitUntil } from '@jetlane/testing';
import { expect } from 'vitest';
import { Analytics, type AnalyticsOptions } from '../../apps/analytics/src/analytics.component.js';

/** Plays the part of a worker that reports to analytics. */
export class ReportingWorker {
  readonly startedAt = Date.now();
  private readonly lanes = new Map<Lane, { counts: Partial<Record<CountedOutcome, number>>; wait: Histogram; run: Histogram }>();

  constructor(
    private readonly connection: Connection,
    readonly queue: string,
    readonly worker: string,
  ) {}

  /** Has done tasks since its last report. */
  did(lane: Lane, outcome: CountedOutcome, count: number, waitMs: number, runMs: number): this {
    const metrics = this.lanes.get(lane) ?? { counts: {}, wait: new Histogram(), run: new Histogram() };
    this.lanes.set(lane, metrics);
    metrics.counts[outcome] = (metrics.counts[outcome] ?? 0) + count;
    for (let i = 0; i < count; i++) {
      metrics.wait.record(waitMs * 1000);
      metrics.run.record(runMs * 1000);
    }
    return this;
  }

  /** Stores its snapshot, as a worker does once a second. */
  async report(): Promise<void> {
    const { worker, queue, startedAt } = this;
    const lanes = Object.fromEntries(
      [...this.lanes].map(([lane, { counts, wait, run }]) => [lane, { counts, wait: wait.encode(), run: run.encode() }]),
    );
    const snapshot: MetricsSnapshot = { worker, queue, startedAt, at: Date.now(), slots: 4, busy: 1, lanes };
    await this.connection.publish(this.connection.names.metric(queue, worker), new TextEncoder().encode(JSON.stringify(snapshot)));
  }

  beat(stopping = false): void {
    const { worker, queue, startedAt } = this;
    const beat: Heartbeat = {
      worker,
      queue,
      host: 'h',
      pid: 1,
      version: '0',
      startedAt,
      at: Date.now(),
      slots: 4,
      busy: 3,
      types: [],
      running: [],
      ...(stopping ? { stopping } : {}),
    };
    this.connection.send(this.connection.names.heartbeat(queue, worker), JSON.stringify(beat));
  }
}

/** A nats-server, and analytics services on it as separate processes would be. */
export class AnalyticsFixture {
  private readonly services: RunningService[] = [];

  private constructor(
    readonly server: NatsServer,
    readonly connection: Connection,
    private readonly namespace: string,
  ) {}

  static async open(namespace: string): Promise<AnalyticsFixture> {
    const server = await startNatsServer();
    const connection = await connect({ servers: server.url, namespace });
    await provisionBase(connection);
    return new AnalyticsFixture(server, connection, namespace);
  }

  async close(): Promise<void> {
    await Promise.all(this.services.splice(0).map((service) => service.stop()));
    await this.connection.close();
    await this.server.stop();
  }

  /** Starts an analytics service; the component gives the figures of this one process. */
  async start(options: AnalyticsOptions = {}): Promise<{ service: RunningService; analytics: Analytics }> {
    const env = {
      NATS_URL: this.server.url,
      JETLANE_NAMESPACE: this.namespace,
      ANALYTICS_PORT: '0',
      LOG_LEVEL: 'silent',
      LOG_FORMAT: 'json',
    };
    let analytics: Analytics | undefined;
    const service = await startService({
      config: readServiceConfig('analytics', 3004, 'ANALYTICS_PORT', env),
      components: (context) => {
        analytics = new Analytics(context, options);
        return [analytics];
      },
    });
    this.services.push(service);
    return { service, analytics: analytics! };
  }

  async stop(service: RunningService): Promise<void> {
    this.services.splice(this.services.indexOf(service), 1);
    await service.stop();
  }

  worker(queue: string, worker: string): ReportingWorker {
    return new ReportingWorker(this.connection, queue, worker);
  }

  /** The service's answer for one queue. */
  async stats(queue: string): Promise<AnalyticsStats> {
    const [stats] = (await callService(this.connection, 'analytics', 'stats', { queue })) as AnalyticsStats[];
    return stats!;
  }
}

/** Waits for a condition and fails by name when it does not come. */
export async function eventually(what: string, condition: () => boolean | Promise<boolean>, timeoutMs = 15_000): Promise<void> {
  expect(await waitUntil(condition, { timeoutMs, everyMs: 20 }), what).toBe(true);
}
