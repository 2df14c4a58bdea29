import type { Clock } from './clock.js';
import type { BatchBroker, BatchStorage, StorageDamage } from './storage.js';

/** Milliseconds, or a number with a unit: `250ms`, `5s`, `1.5m`, `2h`, `7d`. */
export type Duration = number | string;

/** What became of one item. `value` is needed unless the queue's result type is `void`. */
export type BatchResult<R = void> =
  // biome-ignore lint/suspicious/noConfusingVoidType: the result type of a queue without results is `void`
  | ([R] extends [void] ? { readonly success: true; readonly value?: R } : { readonly success: true; readonly value: R })
  /** `retryable` decides alone when it is given; otherwise `retryableCheck` is asked. */
  | { readonly success: false; readonly error?: unknown; readonly retryable?: boolean };

/** What a processor knows about its call. */
export interface BatchContext {
  readonly queue: string;
  /** Number of the batch, from 1. */
  readonly batch: number;
  /** Earlier attempts of each item, in the order of the items. */
  readonly attempts: readonly number[];
  /** Fires when the queue closes: end soon, or the items are left where they were. */
  readonly signal: AbortSignal;
}

/** Handles a batch and returns one result per item, in the order of the items. A throw fails all of them. */
export type BatchProcessor<T, R = void> = (
  items: readonly T[],
  context: BatchContext,
) => readonly BatchResult<R>[] | Promise<readonly BatchResult<R>[]>;

/** When and how failed items come again. */
export interface RetryStrategy {
  /** Further attempts after the first. Default 3. */
  readonly maxRetries?: number;
  /** Whether an error may pass. Asked when the result does not say. Default: every error may. */
  readonly retryableCheck?: (error: unknown) => boolean;
  /** The delay before retry n is `initialDelay × multiplier^(n-1)`, capped, then spread by the jitter. */
  readonly backoff?: {
    /** Default 1s. */
    readonly initialDelay?: Duration;
    /** 1 to 10. Default 2. */
    readonly multiplier?: number;
    /** No delay is longer. Default 1m. */
    readonly maxDelay?: Duration;
    /** Random part of the delay, 0 to 1: 0.2 is ± 20 %. Keeps items that failed together from coming back together. Default 0.2. */
    readonly jitter?: number;
  };
}

/** An item that was given up. */
export interface DeadItem<T> {
  readonly item: T;
  readonly id: number;
  readonly priority: number;
  readonly attempts: number;
  readonly error: unknown;
}

/** Called as things happen. What a hook throws, also later, goes to `onError`; nothing else comes of it. */
export interface BatchHooks<T, R = void> {
  readonly onEnqueue?: (item: T, about: { readonly id: number | string; readonly priority: number }) => unknown;
  readonly onBatchStart?: (batch: { readonly batch: number; readonly items: readonly T[] }) => unknown;
  readonly onBatchComplete?: (batch: {
    readonly batch: number;
    readonly items: readonly T[];
    readonly succeeded: number;
    readonly failed: number;
    readonly durationMs: number;
  }) => unknown;
  /** An item succeeded. */
  readonly onProcessed?: (item: T, about: { readonly value: R | undefined; readonly attempts: number }) => unknown;
  /** Items that wait, also for a retry; called at most once per step of the queue. */
  readonly onQueueSizeChange?: (size: number) => unknown;
  /** Failed batches and items, hooks that threw, damaged or failing storage. Default: a Node warning for the last three. */
  readonly onError?: (
    error: Error,
    about: { readonly during: string; readonly items?: readonly T[]; readonly damage?: StorageDamage },
  ) => unknown;
  /** An item leaves without having been processed: pushed out (`overflow`), or the queue closed without a storage (`closed`). */
  readonly onDrop?: (item: T, reason: 'overflow' | 'closed') => unknown;
}

/** Where items live beside memory. */
export interface PersistenceOptions<T, R = void> {
  /** Default true when `persistence` is given: a switch for configuration. */
  readonly enabled?: boolean;
  /** Name of this queue's data in the storage. Default: the queue's name. */
  readonly storageKey?: string;
  /** Most time between acceptance and safety; what a crash may lose. Shorter writes more often. A storage that is `sync` ignores it. Default 1s. */
  readonly saveInterval?: Duration;
  /** `fileSystemStorage`, `memoryStorage`, `jetStreamStorage` of `@jetlane/worker/batching`, or one's own. */
  readonly storage: BatchStorage<T> | BatchBroker<T, R>;
}

/** Options of a queue. Only `name` and `processor` are needed. */
export interface BatchedQueueOptions<T, R = void> {
  /** Letters, digits, `_`, `-` and `.`, at most 64; in errors, and the default storage key. */
  readonly name: string;
  readonly processor: BatchProcessor<T, R>;
  /** Most items per batch. Larger: fewer calls, longer waits, more to repeat after a crash. Default 100. */
  readonly batchSize?: number;
  /** Longest wait of an item for its batch to fill. Shorter: quicker and smaller batches. Default 1s. */
  readonly flushInterval?: Duration;
  /** Priorities run from 0, the highest, to this minus 1. A lower one waits as long as there is a higher one. Default 3. */
  readonly priorityLevels?: number;
  /** Of items that name none. Default: the middle level, 1 of 3. */
  readonly defaultPriority?: number;
  /** Batches at a time. Default 1: batches start and end in order. */
  readonly concurrency?: number;
  /** Least time between the starts of two batches. Default 0. */
  readonly throttle?: Duration;
  /** At most so many items start in any span of `interval`; also caps the batch. Retries count again. Default: no limit. */
  readonly rateLimit?: { readonly items: number; readonly interval: Duration };
  /**
   * Groups waiting items, highest priority first, into batches. Called when a batch is due; the first batch is taken, cut at `batchSize`.
   * What it leaves out stays queued and is shown again when items come, a batch ends, or `flushInterval` passes. It costs time in
   * proportion to the depth per batch. Default: in order of priority, then of arrival.
   */
  readonly batchingStrategy?: (items: readonly T[]) => readonly (readonly T[])[];
  /** Default: no retries. `{}` gives three. */
  readonly retryStrategy?: RetryStrategy;
  /** Takes over items that were given up. Default: they are kept in `deadLetters`, and in the storage. */
  readonly onDead?: (dead: DeadItem<T>) => unknown;
  readonly hooks?: BatchHooks<T, R>;
  /** Most waiting items, those that wait for a retry among them. Retries may exceed it by what is running. Default 1,000,000. */
  readonly maxQueueSize?: number;
  /** Most bytes of waiting items by `sizeOf`. Costs a measurement per item. Default: no limit. */
  readonly maxBytes?: number;
  /** Bytes of an item, for `maxBytes`. Default: the length of its JSON. */
  readonly sizeOf?: (item: T) => number;
  /**
   * At the limit: `reject-new` (QueueFullError), `drop-oldest` (the oldest item of the lowest priority that waits; `onDrop` and its handle
   * are told), or `wait` (enqueue resolves when there is room). Default `reject-new`.
   */
  readonly dropBehavior?: 'reject-new' | 'drop-oldest' | 'wait';
  readonly persistence?: PersistenceOptions<T, R>;
  /** How long `close` waits for running batches after their signal fired. Default 10s. */
  readonly closeTimeout?: Duration;
  /** For tests. Default: the system's. */
  readonly clock?: Clock;
}
