import type { CompiledOptions } from './compile.js';
import { BatchingError } from './errors.js';
import type { BatchStorage, LoadedState, StorageChange, StoredItem } from './storage.js';

/** Changes that make a snapshot worth while, when they are also twice as many as it last held. */
const SNAPSHOT_AFTER = 10_000;

/** Brings a queue's changes to its storage: in order, many at a time, one write after the other. */
export class Journal<T> {
  readonly sync: boolean;
  private changes: StorageChange<T>[] = [];
  private sinceSnapshot = 0;
  private kept = 0;
  private anew = false;
  private last: Promise<unknown> = Promise.resolve();
  /** The write that has not begun: whoever comes now goes along with it. */
  private next: Promise<void> | undefined;
  private alarmOff: (() => void) | undefined;

  /** @param live everything that the next process must find; @param failed told when a write failed that nobody waits for */
  constructor(
    private readonly storage: BatchStorage<T>,
    private readonly options: Pick<CompiledOptions<T, never>, 'storageKey' | 'saveMs' | 'clock'>,
    private readonly live: () => StoredItem<T>[],
    private readonly failed: (error: unknown) => void,
  ) {
    this.sync = storage.sync === true;
  }

  load(): Promise<LoadedState<T>> {
    return this.inTurn(() => this.storage.load(this.options.storageKey));
  }

  record(change: StorageChange<T>): void {
    this.changes.push(change);
    // Half of the interval is for waiting, the other half for the write itself.
    this.alarmOff ??= this.options.clock.after(this.options.saveMs / 2, () => void this.save().catch(this.failed));
  }

  /**
   * Resolves when all that was recorded so far is safe. @throws BatchingError `storage-failed`
   * @param anew writes the whole state, which shortens what the next start must read
   */
  save(anew = false): Promise<void> {
    this.anew ||= anew;
    this.next ??= this.inTurn(() => this.write());
    return this.next;
  }

  /** Saves what is left and lets go of the storage. */
  async close(): Promise<void> {
    try {
      await this.save(true);
    } finally {
      this.alarmOff?.();
      await this.inTurn(() => this.storage.close());
    }
  }

  /** Changes recorded meanwhile are appended afterwards: each names the whole state of its item, so that repeating them is harmless. */
  private async write(): Promise<void> {
    const { changes } = this;
    const live = this.anew || this.sinceSnapshot > Math.max(SNAPSHOT_AFTER, 2 * this.kept) ? this.live() : undefined;
    this.alarmOff?.();
    this.alarmOff = undefined;
    this.next = undefined;
    this.anew = false;
    this.changes = [];
    try {
      if (live) await this.storage.replace(live);
      else if (changes.length > 0) await this.storage.append(changes);
    } catch (error) {
      // With `sync` the producers of these items are told that they were not accepted: they must not come back later.
      const again = [...(this.sync ? changes.filter((change) => typeof change === 'number') : changes), ...this.changes];
      this.changes = [];
      for (const change of again) this.record(change);
      throw error;
    }
    this.sinceSnapshot = live ? 0 : this.sinceSnapshot + changes.length;
    if (live) this.kept = live.length;
  }

  private inTurn<V>(step: () => Promise<V>): Promise<V> {
    const turn = this.last.then(step).catch((cause: unknown) => {
      if (cause instanceof BatchingError) throw cause;
      const { storageKey: key } = this.options;
      throw new BatchingError('storage-failed', `the storage of "${key}" failed: ${(cause as Error).message}`, { key }, cause);
    });
    this.last = turn.catch(() => undefined);
    return turn;
  }
}
