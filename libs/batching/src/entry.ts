import type { BatchHandle } from './storage.js';

/** Hears of items when they are settled. Its source has them, so no storage keeps them. */
export interface Watcher {
  /** @param error of an item that failed; `given`: for good, rather than left undone */
  settled(error?: Error, given?: boolean): void;
}

/** What an item is doing. Only the queue changes it: waiting ↔ running → settled or failed. */
export type EntryState = 'waiting' | 'running' | 'settled' | 'failed';

interface Waiter<R> {
  readonly promise: Promise<R>;
  resolve(value: R): void;
  reject(error: unknown): void;
}

/** An accepted item, and the handle that its producer holds. */
export class Entry<T, R> implements BatchHandle<R> {
  state: EntryState = 'waiting';
  attempts = 0;
  /** Place in the order of arrival; a retry gets a new one. */
  seq = 0;
  /** When it began to wait. */
  since = 0;
  /** The value, or the error when it failed: one field, since there is one of these per item. */
  private outcome: unknown;
  private waiter: Waiter<R> | undefined;

  constructor(
    readonly id: number,
    readonly item: T,
    readonly priority: number,
    readonly bytes: number,
    readonly watcher: Watcher | undefined,
  ) {}

  /** The promise is made when somebody asks for it: most items are never asked. */
  get result(): Promise<R> {
    if (this.waiter) return this.waiter.promise;
    let resolve!: (value: R) => void;
    let reject!: (error: unknown) => void;
    const promise = new Promise<R>((fulfil, refuse) => {
      resolve = fulfil;
      reject = refuse;
    });
    this.waiter = { promise, resolve, reject };
    this.answer();
    return promise;
  }

  succeed(value: R): void {
    this.state = 'settled';
    this.outcome = value;
    this.watcher?.settled();
    this.answer();
  }

  /** @param given for good, rather than left undone */
  fail(error: Error, given = true): void {
    this.state = 'failed';
    this.outcome = error;
    this.watcher?.settled(error, given);
    this.answer();
  }

  private answer(): void {
    if (!this.waiter) return;
    if (this.state === 'settled') this.waiter.resolve(this.outcome as R);
    if (this.state !== 'failed') return;
    this.waiter.promise.catch(() => undefined);
    this.waiter.reject(this.outcome);
  }
}
