import type { Entry } from './entry.js';
import { BatchingError } from './errors.js';
import type { CompiledOptions } from './options.js';
import type { BatchStorage, LoadedState } from './storage.js';

/** Brings what changed in a queue to its storage: each entry as it is at the moment of the write, many at a time, one write after the other. */
export class Journal<T, R> {
  private changed = new Set<Entry<T, R>>();
  private last: Promise<unknown> = Promise.resolve();
  /** The write that has not begun: whoever comes now goes along with it. */
  private next: Promise<void> | undefined;
  private alarmOff: (() => void) | undefined;

  /** @param failed told when a write failed that nobody waits for */
  constructor(
    readonly storage: BatchStorage<T>,
    private readonly options: CompiledOptions<T, R>,
    private readonly failed: (error: unknown) => void,
  ) {}

  load(): Promise<LoadedState<T>> {
    return this.inTurn(() => this.storage.load(this.options.persistence.storageKey));
  }

  /** Has the next write bring an entry. */
  note(entry: Entry<T, R>): void {
    this.changed.add(entry);
    // Half of the interval is for waiting, the other half for the write itself.
    this.alarmOff ??= this.options.clock.after(this.options.persistence.saveInterval / 2, () => void this.save().catch(this.failed));
  }

  /** Resolves when all that was noted so far is safe. @throws BatchingError `storage-failed` */
  save(): Promise<void> {
    this.next ??= this.inTurn(() => this.write());
    return this.next;
  }

  /** Saves what is left and lets go of the storage. */
  async close(): Promise<void> {
    await this.save().finally(() => {
      this.alarmOff?.();
      return this.inTurn(() => this.storage.close());
    });
  }

  private async write(): Promise<void> {
    const { changed } = this;
    this.alarmOff?.();
    this.alarmOff = undefined;
    this.next = undefined;
    this.changed = new Set();
    try {
      if (changed.size > 0) await this.storage.append(Array.from(changed, (entry) => entry.change()));
    } catch (error) {
      for (const entry of changed) {
        // Its producer waits, and is told now that it was not accepted: it must not come back later.
        if (entry.state === 'new') entry.state = 'gone';
        this.note(entry);
      }
      throw error;
    }
  }

  private inTurn<V>(step: () => Promise<V>): Promise<V> {
    const turn = this.last.then(step).catch((cause: unknown) => {
      if (cause instanceof BatchingError) throw cause;
      const { storageKey: key } = this.options.persistence;
      throw new BatchingError('storage-failed', `the storage of "${key}" failed: ${(cause as Error).message}`, { key }, cause);
    });
    this.last = turn.catch(() => undefined);
    return turn;
  }
}
