import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Component, HealthReport, ServiceContext } from '@jetlane/nestjs/service';
import { createDatabase, type Database, InboxJanitor, isDatabaseAway, migrate, pingDatabase } from '@jetlane/postgres';
import { hopMetrics, type StuckLane, Worker } from '@jetlane/worker';
import { type WorkerHostConfig, workerRules } from './config.js';
import { createHostHandlers } from './handlers.js';

const { version: VERSION } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
const DATABASE_RETRY_MS = 1000;
const LOSS_LOG_INTERVAL_MS = 1000;

/** The parts of a service that the host uses. */
export type HostContext = Pick<ServiceContext<WorkerHostConfig>, 'config' | 'connection' | 'health' | 'logger' | 'metrics'>;

/** A process that cannot be mended from inside: drains as at SIGTERM, and ends with a code that tells. */
function endProcess(): void {
  process.exitCode = 1;
  process.emit('SIGTERM', 'SIGTERM');
}

/**
 * One worker per queue, the database that they write to, and the purge of its inbox.
 * States: made → started (`start`) → stopped (`stop`, which may come at any time); it is not started again.
 */
export class WorkerHost implements Component {
  readonly #db: Database;
  readonly #workers: ReadonlyMap<string, Worker>;
  readonly #janitor: InboxJanitor;
  readonly #stopping = new AbortController();
  #lossLoggedAt = Number.NEGATIVE_INFINITY;
  #starting: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;

  /** @param end ends the process when a lane stays stuck */
  constructor(
    private readonly context: HostContext,
    private readonly end: () => void = endProcess,
  ) {
    const { config, connection, health, logger, metrics } = context;
    this.#db = createDatabase(config.databaseUrl, {
      maxConnections: config.databaseMaxConnections,
      applicationName: 'jetlane-worker',
      onConnectionError: (error) => this.#connectionLost(error),
    });
    const handlers = createHostHandlers(this.#db, connection.names.namespace);
    const options = { handlers, log: logger, version: VERSION, ...workerRules(config) };
    this.#workers = new Map(config.queues.map((queue) => [queue, new Worker(connection, { ...options, queue })]));
    for (const worker of this.#workers.values()) worker.on('lane:stuck', (stuck) => this.#stuck(stuck));
    this.#janitor = new InboxJanitor(this.#db, {
      olderThan: config.inboxRetentionMs,
      onPurged: (rows) => logger.info({ rows }, 'inbox:purged'),
      onError: (error) => logger.warn({ error: String(error) }, 'inbox:purge-failed'),
    });
    health.add('database', () => this.#databaseHealth());
    health.add('workers', () => this.#workersHealth());
    metrics.add(() => hopMetrics(this.#workers.values()));
  }

  /**
   * Resolves when all workers pull, or when the host was stopped before. Waits for a database that is away.
   * @throws what the schema or the provisioning of a queue runs into
   */
  start(): Promise<void> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  /** Drains the workers, then closes the pool. Running handlers get the configured time. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /** A second signal: what runs is told to end and handed back, instead of being waited for. */
  abort(): void {
    for (const worker of this.#workers.values()) worker.abort();
  }

  async #start(): Promise<void> {
    await this.#prepareDatabase();
    for (const worker of this.#workers.values()) {
      if (this.#stopping.signal.aborted) return;
      await worker.start();
    }
    if (!this.#stopping.signal.aborted) this.#janitor.start();
  }

  /** Until the database is there, the probe says what is awaited; the log says it once. */
  async #prepareDatabase(): Promise<void> {
    const { logger } = this.context;
    for (let round = 0; !this.#stopping.signal.aborted; round++) {
      try {
        const migrations = await migrate(this.#db);
        if (migrations.length > 0) logger.info({ migrations }, 'database:migrated');
        return;
      } catch (error) {
        if (!isDatabaseAway(error)) throw error;
        if (round === 0) logger.warn({ error: (error as Error).message }, 'database:awaited');
        await sleep(DATABASE_RETRY_MS, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
      }
    }
  }

  async #stop(): Promise<void> {
    this.#stopping.abort();
    await this.#starting?.catch(() => undefined);
    const timeout = this.context.config.shutdownTimeoutMs;
    await Promise.all([...this.#workers.values()].map((worker) => worker.stop({ timeout })));
    await this.#janitor.stop();
    await this.#db.destroy();
  }

  /** An outage breaks every connection of the pool at once; one line tells it. */
  #connectionLost(error: Error): void {
    const now = performance.now();
    if (now - this.#lossLoggedAt > LOSS_LOG_INTERVAL_MS) {
      this.#lossLoggedAt = now;
      this.context.logger.warn({ error: error.message }, 'database:connection-lost');
    }
  }

  async #databaseHealth(): Promise<HealthReport> {
    await pingDatabase(this.#db);
    return { up: true };
  }

  /** The broker answers and has tasks, new pulls do not help: what is wrong is in this process. */
  #stuck({ queue, lane, reason, forMs }: StuckLane): void {
    const { config, logger } = this.context;
    if (config.stuckExitMs === 0 || forMs < config.stuckExitMs || this.#stopping.signal.aborted) return;
    logger.fatal({ queue, lane, reason }, 'worker:stuck');
    this.end();
  }

  #workersHealth(): HealthReport {
    const queues = [...this.#workers].map(([queue, worker]) => ({ queue, ...worker.health() }));
    return {
      up: queues.every(({ ready }) => ready),
      queues: queues.map(({ queue, state, slots, busy, problems, lanes }) => ({
        queue,
        state,
        slots,
        busy,
        // Which lane gets no tasks though it should, and why.
        problems,
        paused: lanes.flatMap(({ lane, paused }) => (paused ? [lane] : [])),
      })),
    };
  }
}
