/** Every error code of this library, and whether the same call may succeed later without a change. */
export const BATCHING_ERRORS = {
  'invalid-options': { retryable: false, title: 'Options do not fit; details.problems lists all of them' },
  'queue-full': { retryable: true, title: 'maxQueueSize or maxBytes is reached' },
  'item-too-large': { retryable: false, title: 'One item alone is larger than maxBytes' },
  'item-dropped': { retryable: false, title: 'The item made room for a newer one' },
  'item-failed': { retryable: false, title: 'The item failed for good' },
  'invalid-results': { retryable: false, title: 'The processor did not return one result per item' },
  'invalid-plan': { retryable: false, title: 'The batching strategy returned something else than batches of waiting items' },
  'drain-timeout': { retryable: true, title: 'Items were left when the time was over' },
  'queue-closed': { retryable: false, title: 'The queue was closed' },
  'storage-failed': { retryable: true, title: 'The storage could not be read or written' },
  'storage-locked': { retryable: true, title: 'Another process writes to this storage key' },
} as const satisfies Record<string, { retryable: boolean; title: string }>;

export type BatchingErrorCode = keyof typeof BATCHING_ERRORS;

/** Root of all errors that this library throws on purpose. */
export class BatchingError extends Error {
  /** Whether trying again may help; says nothing about an item's own retries. */
  readonly retryable: boolean;

  constructor(
    readonly code: BatchingErrorCode,
    message: string,
    readonly details: Readonly<Record<string, unknown>> = {},
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.retryable = BATCHING_ERRORS[code].retryable;
  }
}

/** `dropBehavior: 'reject-new'` and no room. */
export class QueueFullError extends BatchingError {
  constructor(queue: string, limit: 'maxQueueSize' | 'maxBytes', value: number) {
    const message = `queue "${queue}" has reached ${limit} (${value}); try later, raise it, or use dropBehavior "wait"`;
    super('queue-full', message, { limit, value });
  }
}

/** What a handle's `result` rejects with when the item failed for good; `cause` is the processor's error. */
export class ItemFailedError extends BatchingError {
  /** @param attempts times the item was in a batch that the processor was called with */
  constructor(
    queue: string,
    id: number | string,
    readonly attempts: number,
    cause: unknown,
    /** Told to a broker, which decides about its items' retries: this one may come again. */
    override readonly retryable = false,
  ) {
    const message = `item ${id} of queue "${queue}" failed after ${attempts} attempt(s): ${errorOf(cause).message}`;
    super('item-failed', message, { id, attempts }, cause);
  }
}

/** `drain` ran out of time; the items stay in the queue. */
export class DrainTimeoutError<T = unknown> extends BatchingError {
  /**
   * @param left items that are not settled, as far as this process holds them
   * @param leftCount how many there are in all, also elsewhere when several processes share the queue
   */
  constructor(
    queue: string,
    timeoutMs: number,
    readonly left: readonly T[],
    readonly leftCount: number,
  ) {
    const message = `queue "${queue}" still has ${leftCount} item(s) after ${timeoutMs} ms; they stay in it`;
    super('drain-timeout', message, { leftCount, timeoutMs });
  }
}

export const closedError = (queue: string): BatchingError =>
  new BatchingError('queue-closed', `queue "${queue}" is closed; its storage, if it has one, keeps what was left`);

export const errorOf = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)));
