import type { Duration } from '@jetlane/protocol';
import type { TaskContext } from './task-context.js';

/** One task of a batch. */
export interface BatchItem<T = unknown> {
  /** The payload: parsed JSON, or bytes when the content type is another. */
  readonly data: T;
  /** As a handler of single tasks gets it. Its signal is the item's own: it fires when this item is cancelled or its lease is lost. */
  readonly context: TaskContext;
}

/** What a batch handler says about one item; see `BatchHandler`. */
export type ItemOutcome<R = unknown> =
  | { readonly success: true; readonly result?: R }
  | {
      readonly success: false;
      /** What went wrong. `RetryLater`, `FatalError` and `Cancelled` mean what they mean when they are thrown by a handler. */
      readonly error: unknown;
      /** False: dead at once. True: `retryable` of the policy is not asked. Attempts are counted all the same. */
      readonly retryable?: boolean;
      /** Delay before the next attempt, exactly. Default: by the policy. */
      readonly delay?: Duration;
    };

/** What a batch handler knows about the run it is in. */
export interface BatchContext {
  readonly queue: string;
  readonly type: string;
  /** What `groupBy` said about every item of the batch; `undefined` without one. */
  readonly group: string | undefined;
  /** Fires when every item's signal has: timeout, shutdown past its deadline, lost leases. Its `reason` is the error. */
  readonly signal: AbortSignal;
  /** When the batch runs into its timeout, ms since 1970; `undefined` without one. */
  readonly deadline: number | undefined;
}

/**
 * User code for many tasks of one type at once. Returns one outcome per item, in the order of the items. What it throws, and anything
 * returned that is no list of this length, is a failed attempt of every item; only a thrown `RetryLater` keeps its meaning.
 */
export type BatchHandler<T = unknown, R = unknown> = (
  items: readonly BatchItem<T>[],
  context: BatchContext,
) => Promise<readonly ItemOutcome<R>[]> | readonly ItemOutcome<R>[];

/** A batch handler of any payload type, for tables that hold many. */
export type AnyBatchHandler = BatchHandler<never>;

/** How tasks are gathered. */
export interface BatchOptions {
  /** Most items of a batch, 1 to 10,000. A batch of n items takes n slots, so `concurrency` must be at least this. */
  readonly size: number;
  /** Fewer items are worth waiting for more, up to ten times `maxWait`. Default 1. */
  readonly minSize?: number;
  /**
   * How long the first item of a batch waits for others, at most 1 h. Then the batch starts when it has `minSize` items; if not, it starts
   * as soon as it has, and after ten times `maxWait` with what there is. Default 100ms.
   */
  readonly maxWait?: Duration;
  /**
   * Least time from the beginning of a batch to that of the next one of this handler in this process, at most 1 h; for an API that takes
   * few calls. What is due meanwhile waits, and fills up to `size`; it has a slot per task all the while. Default: none.
   */
  readonly minGap?: Duration;
  /**
   * Looks at each payload before the task joins a batch, and gives what the handler gets as `data` (`groupBy` gets it too). What it throws is
   * the failure of this task alone, as if a handler had thrown it: with a `FatalError` it is dead, and its neighbours go on. Default: the
   * payload as it is.
   */
  readonly accept?: (data: never, context: TaskContext) => unknown;
  /**
   * Items of one batch have one group: `'group'` takes the task's own, a function says it from payload and context (`undefined` is a group
   * too). Default: all tasks of the type together.
   */
  readonly groupBy?: 'group' | ((data: never, context: TaskContext) => string | undefined);
}
