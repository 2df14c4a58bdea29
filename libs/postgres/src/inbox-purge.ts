import { type Duration, toMs } from '@jetlane/protocol';
import { sql } from 'kysely';
import type { Database } from './schema.js';

/** Which inbox rows go, and in what portions. */
export interface PurgeOptions {
  /**
   * Age at which a row goes. Default 7 days. It must be longer than any task can still be delivered again: a redelivery
   * after the purge runs the handler a second time.
   */
  readonly olderThan?: Duration;
  /** Rows per statement: small ones hold locks for a short time. Default 1000. */
  readonly batchSize?: number;
  /** Stops between two portions. */
  readonly signal?: AbortSignal;
}

/** Deletes old inbox rows portion by portion and returns how many. Several processes may do it at once. */
export async function purgeInbox(db: Database, options: PurgeOptions = {}): Promise<number> {
  const seconds = toMs(options.olderThan ?? '7d', 'olderThan') / 1000;
  const batchSize = options.batchSize ?? 1000;
  let total = 0;
  while (!options.signal?.aborted) {
    const deleted = await purgeBatch(db, seconds, batchSize);
    total += deleted;
    if (deleted < batchSize) break;
  }
  return total;
}

async function purgeBatch(db: Database, olderThanSeconds: number, batchSize: number): Promise<number> {
  const old = db
    .selectFrom('task_inbox')
    .select('task_id')
    .where('processed_at', '<', sql<string>`now() - make_interval(secs => ${olderThanSeconds})`)
    .limit(batchSize)
    .forUpdate()
    .skipLocked();
  // As an array, so that the limited select runs once; joined, the planner is free to repeat it.
  const { numDeletedRows } = await db.deleteFrom('task_inbox').where(sql<boolean>`task_id = any(array(${old}))`).executeTakeFirstOrThrow();
  return Number(numDeletedRows);
}

/** Options of `InboxJanitor`. */
export interface JanitorOptions extends Omit<PurgeOptions, 'signal'> {
  /** Time between two purges. Default 10 minutes; the first comes after one such time. */
  readonly every?: Duration;
  readonly onPurged?: (rows: number) => void;
  /** Told of failed purges; the next one comes as usual. */
  readonly onError?: (error: unknown) => void;
}

/** Purges the inbox every so often, until `stop`. Idle → started → stopped; both calls may be repeated. */
export class InboxJanitor {
  readonly #stopping = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;

  constructor(
    private readonly db: Database,
    private readonly options: JanitorOptions = {},
  ) {}

  /** The first purge comes after one interval. Does nothing when it runs already, or has been stopped. */
  start(): void {
    if (this.#timer || this.#stopping.signal.aborted) return;
    this.#timer = setInterval(() => this.#tick(), toMs(this.options.every ?? '10m', 'every'));
    this.#timer.unref();
  }

  /** Resolves when no purge is under way any more, so that the pool can be closed. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopping.abort();
    await this.#running;
  }

  #tick(): void {
    this.#running ??= this.#purge().finally(() => {
      this.#running = undefined;
    });
  }

  async #purge(): Promise<void> {
    try {
      const rows = await purgeInbox(this.db, { ...this.options, signal: this.#stopping.signal });
      if (rows > 0) this.options.onPurged?.(rows);
    } catch (error) {
      this.options.onError?.(error);
    }
  }
}
