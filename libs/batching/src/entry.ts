import type { BatchHandle } from './storage.js';

/** Hears of items when they are settled. Its source has them, so no storage keeps them. */
export interface Watcher {
  /** @param error of an item that failed; `given`: for good, rather than left undone */
  settled(error?: Error, given?: boolean): void;
}

/** What an item is doing. Only the queue changes it: waiting ↔ running → settled. */
export type EntryState = 'waiting' | 'running' | 'settled';

/** An accepted item, and the handle that its producer holds. */
export class Entry<T, R> implements BatchHandle<R> {
  state: EntryState = 'waiting';
  attempts = 0;
  /** Place in the order of arrival; a retry gets a new one. */
  seq = 0;
  /** When it began to wait. */
  since = 0;
  private value: R | undefined;
  private error: Error | undefined;
  private promise: Promise<R> | undefined;
  private tell: (() => void) | undefined;

  constructor(
    readonly id: number,
    readonly item: T,
    readonly priority: number,
    readonly bytes: number,
    readonly watcher: Watcher | undefined,
  ) {}

  /** The promise is made when somebody asks for it: most items are never asked. */
  get result(): Promise<R> {
    this.promise ??= new Promise((resolve, reject) => {
      this.tell = () => (this.error ? reject(this.error) : resolve(this.value as R));
    });
    if (this.state === 'settled') this.answer();
    return this.promise;
  }

  succeed(value: R): void {
    this.state = 'settled';
    this.value = value;
    this.watcher?.settled();
    if (this.promise) this.answer();
  }

  /** @param given for good, rather than left undone */
  fail(error: Error, given = true): void {
    this.state = 'settled';
    this.error = error;
    this.watcher?.settled(error, given);
    if (this.promise) this.answer();
  }

  private answer(): void {
    if (this.error) this.promise?.catch(() => undefined);
    this.tell?.();
    this.tell = undefined;
  }
}
