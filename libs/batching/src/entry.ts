import type { BatchHandle, StoredItem } from './storage.js';

/** Hears that an item is settled, with the error when it failed; `undone`: it was not, and goes back to its source, which keeps it. */
export type Watcher = (error?: Error, undone?: boolean) => void;

/** An accepted item, and the handle that its producer holds. */
export class Entry<T, R> implements BatchHandle<R> {
  /** Only the queue changes it: waiting ↔ running → settled or failed. */
  state: 'waiting' | 'running' | 'settled' | 'failed' = 'waiting';
  attempts = 0;
  /** Place in the order of arrival; a retry gets a new one. */
  seq = 0;
  /** When it began to wait. */
  since = 0;
  /** The one behind it in the backlog. */
  next: Entry<T, R> | undefined;
  /** The value, or the error when it failed: one field, since there is one of these per item. */
  private outcome: unknown;
  private promise: Promise<R> | undefined;
  private answer: (() => void) | undefined;

  constructor(
    readonly id: number,
    readonly item: T,
    readonly priority: number,
    readonly bytes: number,
    readonly watcher: Watcher | undefined,
  ) {}

  /** The promise is made when somebody asks for it: most items are never asked, and most of the others when they are settled. */
  get result(): Promise<R> {
    if (this.promise) return this.promise;
    if (this.state === 'settled') this.promise = Promise.resolve(this.outcome as R);
    else
      this.promise = new Promise((resolve, reject) => {
        this.answer = () => (this.state === 'settled' ? resolve(this.outcome as R) : reject(this.outcome));
      });
    if (this.state === 'failed') this.settle('failed', this.outcome);
    return this.promise;
  }

  succeed(value: R): void {
    this.settle('settled', value);
    this.watcher?.();
  }

  fail(error: Error, undone = false): void {
    this.settle('failed', error);
    this.watcher?.(error, undone);
  }

  /** As a storage keeps it. @param error why it was given up */
  stored(error?: Error): StoredItem<T> {
    const { id, priority, attempts, item } = this;
    return { id, priority, attempts, item, ...(error && { dead: error.message }) };
  }

  private settle(state: 'settled' | 'failed', outcome: unknown): void {
    this.state = state;
    this.outcome = outcome;
    if (state === 'failed') this.promise?.catch(() => undefined);
    this.answer?.();
  }
}
