import { errorOf } from './errors.js';
import type { DeadItem } from './options.js';
import type { BatchHandle, StorageChange } from './storage.js';

/** Hears that an item is settled, with the error when it failed; `undone`: it was not, and goes back to its source, which keeps it. */
export type Watcher = (error?: Error, undone?: boolean) => void;

/** An accepted item, and the handle that its producer holds. */
export class Entry<T, R> implements BatchHandle<R> {
  /** Only the queue changes it: new → waiting ↔ running → settled, dead or gone. A dead letter that was taken is gone. */
  state: 'new' | 'waiting' | 'running' | 'settled' | 'dead' | 'gone' = 'new';
  attempts = 0;
  /** Place in the order of arrival; a retry gets a new one. */
  seq = 0;
  /** When it began to wait. */
  since = 0;
  /** The value, or the error when it failed: one field, since there is one of these per item. */
  private outcome: unknown;
  private promise: Promise<R> | undefined;
  private answer: (() => void) | undefined;

  constructor(
    readonly id: number,
    readonly item: T,
    readonly priority: number,
    readonly bytes: number,
    readonly watcher?: Watcher,
  ) {}

  /** The promise is made when somebody asks for it: most items are never asked, and most of the others when they are settled. */
  get result(): Promise<R> {
    if (this.state === 'settled') this.promise ??= Promise.resolve(this.outcome as R);
    if (this.promise) return this.promise;
    this.promise = new Promise((resolve, reject) => {
      this.answer = () => (this.state === 'settled' ? resolve(this.outcome as R) : reject(this.outcome));
    });
    // An error that nobody waits for is no unhandled rejection.
    this.promise.catch(() => undefined);
    if (this.state === 'dead' || this.state === 'gone') this.answer?.();
    return this.promise;
  }

  /** @param outcome the value, or the error; @param undone it goes back to its source */
  settle(state: 'settled' | 'dead' | 'gone', outcome: unknown, undone = false): void {
    this.state = state;
    this.outcome = outcome;
    this.answer?.();
    this.watcher?.(state === 'settled' ? undefined : (outcome as Error), undone);
  }

  /** What a storage must know of it now. */
  change(): StorageChange<T> {
    if (this.state === 'settled' || this.state === 'gone') return this.id;
    const { error, ...stored } = this.letter();
    return this.state === 'dead' ? { ...stored, dead: errorOf(error).message } : stored;
  }

  letter(): DeadItem<T> {
    const { id, priority, attempts, item, outcome } = this;
    return { id, priority, attempts, item, error: (outcome as Error | undefined)?.cause };
  }
}
