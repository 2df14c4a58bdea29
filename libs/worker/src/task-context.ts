import type { Lane } from '@jetlane/protocol';

/** What a handler knows about the run it is in. */
export interface TaskContext {
  /** `<queue>.<key>`. */
  readonly id: string;
  readonly key: string;
  readonly queue: string;
  readonly lane: Lane;
  readonly type: string;
  /** Handler runs so far that count, this one included; from 1. */
  readonly attempt: number;
  /** Publications of the task so far; from 1. */
  readonly hop: number;
  /** The server's count of hand-overs of this publication; from 1. */
  readonly delivery: number;
  /** (hop, delivery) as one number that only rises: let a resource refuse a smaller one than it has seen. */
  readonly fencingToken: number;
  readonly group: string | undefined;
  /** When the producer made the task, ms since 1970; the server's time when the producer did not say. */
  readonly createdAt: number;
  /** Fires when the run should end: timeout, cancellation, shutdown past its deadline, lost lease. Its `reason` is the error. */
  readonly signal: AbortSignal;
  readonly traceparent: string | undefined;
  /**
   * By when the run should be over, ms since 1970: the end of its timeout or the task's own deadline, whichever is first; `undefined` when it
   * has neither. The signal fires at the timeout; the task's deadline ends no run that has begun.
   */
  readonly deadline: number | undefined;
  /**
   * Tells how far the run is: percent (0 to 100), or an object of one's own, at most 1,024 characters of JSON. The last one counts: it is
   * told to listeners of `task:progress` at once, to everybody else about once a second, and is kept in the task's record. Never throws: what
   * cannot be told is left out and logged.
   */
  progress(progress: number | object): void;
  /**
   * Logs a line about this run: into the worker's log with the task's id, and into the task's record, or the attempt history of
   * a failed one. Of a run the last 50 lines are kept, 500 characters each, 4,000 together.
   */
  log(line: string): void;
}

/** User code for one task type. The payload is parsed JSON, or bytes when the content type is another. */
export type TaskHandler<T = unknown, R = unknown> = (data: T, context: TaskContext) => Promise<R> | R;

/**
 * Thrown by a handler: run the task again after a delay.
 * With `countsAsAttempt: false` the retry policy does not see it ("not now" rather than "failed").
 */
export class RetryLater extends Error {
  override readonly name = 'RetryLater';

  constructor(
    readonly delay: number | string,
    readonly options: { readonly countsAsAttempt?: boolean; readonly message?: string } = {},
  ) {
    super(options.message ?? `retry after ${delay}`);
  }
}

/** A handler of any payload type, for tables that hold many: whoever calls it vouches for the payload. */
export type AnyTaskHandler = TaskHandler<never>;

/** Thrown by a handler: the task is no longer wanted. Also the reason of a signal that fires because somebody cancelled the task. */
export class Cancelled extends Error {
  override readonly name = 'Cancelled';
}

/** The reason of a signal that fires because the worker stops. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}
