import { Alarm, type Clock } from './clock.js';
import { BatchingError } from './errors.js';
import type { BatchStorage, LoadedState, StorageChange, StoredItem } from './storage.js';

export interface JournalOptions<T> {
  readonly key: string;
  readonly saveMs: number;
  readonly clock: Clock;
  /** Everything that the next process must find. */
  readonly live: () => StoredItem<T>[];
  readonly failed: (error: Error) => void;
}

/** Changes that make a snapshot worth while. */
const SNAPSHOT_AFTER = 10_000;

/** Brings a queue's changes to its storage: in order, many at a time, one write after the other. */
export class Journal<T> {
  readonly sync: boolean;
  private changes: StorageChange<T>[] = [];
  private sinceSnapshot = 0;
  private last: Promise<void> = Promise.resolve();
  /** The write that has not begun: whoever comes now goes along with it. */
  private next: Promise<void> | undefined;
  private readonly alarm: Alarm;

  constructor(
    private readonly storage: BatchStorage<T>,
    private readonly options: JournalOptions<T>,
  ) {
    this.sync = storage.sync === true;
    this.alarm = new Alarm(options.clock, () => void this.flush().catch(options.failed));
  }

  load(): Promise<LoadedState<T>> {
    return this.guard(() => this.storage.load(this.options.key));
  }

  record(change: StorageChange<T>): void {
    this.changes.push(change);
    // Half of the interval is for waiting, the other half for the write itself.
    this.alarm.in(this.options.saveMs / 2);
  }

  /** Resolves when all that was recorded so far is safe. @throws BatchingError `storage-failed` */
  flush(): Promise<void> {
    this.next ??= this.inTurn(() => this.write());
    return this.next;
  }

  /** Writes the state anew, which shortens what the next start must read. @throws BatchingError `storage-failed` */
  async snapshot(): Promise<void> {
    await this.flush();
    return this.inTurn(() => this.rewrite());
  }

  /** Saves what is left and lets go of the storage. */
  async close(): Promise<void> {
    try {
      await this.snapshot();
    } finally {
      this.alarm.stop();
      await this.inTurn(() => this.guard(() => this.storage.close()));
    }
  }

  private async write(): Promise<void> {
    this.next = undefined;
    const changes = this.changes;
    this.changes = [];
    if (changes.length === 0) return;
    try {
      await this.guard(() => this.storage.append(changes));
    } catch (error) {
      // With `sync` the producers of these items are told that they were not accepted: they must not come back later.
      this.changes = [...(this.sync ? changes.filter((change) => typeof change === 'number') : changes), ...this.changes];
      if (this.changes.length > 0) this.alarm.in(this.options.saveMs);
      throw error;
    }
    this.sinceSnapshot += changes.length;
    if (this.sinceSnapshot > SNAPSHOT_AFTER) await this.rewrite(true);
  }

  /** Changes recorded meanwhile are appended afterwards: each names the whole state of its item, so that repeating them is harmless. */
  private async rewrite(onlyIfShorter = false): Promise<void> {
    const live = this.options.live();
    if (onlyIfShorter && this.sinceSnapshot < 2 * live.length) return;
    await this.guard(() => this.storage.replace(live));
    this.sinceSnapshot = 0;
  }

  private inTurn(step: () => Promise<void>): Promise<void> {
    const turn = this.last.then(step);
    this.last = turn.catch(() => undefined);
    return turn;
  }

  private async guard<V>(call: () => Promise<V>): Promise<V> {
    try {
      return await call();
    } catch (cause) {
      if (cause instanceof BatchingError) throw cause;
      const { key } = this.options;
      throw new BatchingError('storage-failed', `the storage of "${key}" failed: ${(cause as Error).message}`, { key }, cause);
    }
  }
}
