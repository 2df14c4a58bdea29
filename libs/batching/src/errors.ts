/** Every error code of this library, and whether the same call may succeed later without a change. */
export const BATCHING_ERRORS = {
  'invalid-options': { retryable: false, title: 'Options do not fit; details.problems lists all of them' },
  'queue-full': { retryable: true, title: 'maxQueueSize or maxBytes is reached' },
  'item-too-large': { retryable: false, title: 'One item alone is larger than maxBytes' },
  'item-dropped': { retryable: false, title: 'The item made room for a newer one' },
  'item-failed': { retryable: false, title: 'The item failed for good' },
  'invalid-results': { retryable: false, title: 'The processor did not return one result per item' },
  'invalid-plan': { retryable: false, title: 'The batching strategy returned something else than batches of waiting items' },
  'many-dead-letters': { retryable: false, title: 'Dead letters pile up in memory: nobody takes them' },
  'drain-timeout': { retryable: true, title: 'Items were left when the time was over' },
  'queue-closed': { retryable: false, title: 'The queue was closed' },
  'storage-failed': { retryable: true, title: 'The storage could not be read or written' },
  'storage-locked': { retryable: true, title: 'Another process writes to this storage key' },
} as const satisfies Record<string, { retryable: boolean; title: string }>;

/** Stable names of the errors of this library: the keys of {@link BATCHING_ERRORS}. */
export type BatchingErrorCode = keyof typeof BATCHING_ERRORS;

/** Root of all errors that this library throws on purpose. */
export class BatchingError<D extends object = Readonly<Record<string, unknown>>> extends Error {
  /** @param retryable whether trying again may help; an item's own retries are over, unless a broker decides about them */
  constructor(
    readonly code: BatchingErrorCode,
    message: string,
    readonly details: D = {} as D,
    cause?: unknown,
    readonly retryable: boolean = BATCHING_ERRORS[code].retryable,
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
  }
}

/** `dropBehavior: 'reject-new'` and no room. */
export class QueueFullError extends BatchingError<{ readonly limit: 'maxQueueSize' | 'maxBytes'; readonly value: number }> {}

/** What a handle's `result` rejects with when the item failed for good; `cause` is the processor's error. */
export class ItemFailedError extends BatchingError<{ readonly id: number | string; readonly attempts: number }> {}

/** `drain` ran out of time. `left` is what this process holds, `leftCount` counts also what others do; all of it stays in the queue. */
export class DrainTimeoutError<T = unknown> extends BatchingError<{ readonly left: readonly T[]; readonly leftCount: number }> {}

/** @param attempts times the item was in a batch that the processor was called with */
export function itemFailed(queue: string, id: number | string, attempts: number, cause: unknown, retryable = false): ItemFailedError {
  const message = `item ${id} of queue "${queue}" failed after ${attempts} attempt(s): ${errorOf(cause).message}`;
  return new ItemFailedError('item-failed', message, { id, attempts }, cause, retryable);
}

export const closedError = (queue: string): BatchingError =>
  new BatchingError('queue-closed', `queue "${queue}" is closed; its storage, if it has one, keeps what was left`);

export const errorOf = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)));
