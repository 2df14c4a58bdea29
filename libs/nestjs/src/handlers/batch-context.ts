import type { TaskContext, BatchContext as WorkerBatchContext } from '@jetlane/worker';

/** What a batch handler knows about the run it is in: `@TaskContext() batch: BatchContext`. */
export class BatchContext {
  constructor(
    private readonly run: WorkerBatchContext,
    /** The tasks, in the order of the payloads: ids, attempts, and signals that fire when a single task is cancelled. */
    readonly tasks: readonly TaskContext[],
  ) {}

  get queue(): string {
    return this.run.queue;
  }

  get type(): string {
    return this.run.type;
  }

  /** What `groupBy` said about every task of the batch; undefined without one. */
  get group(): string | undefined {
    return this.run.group;
  }

  /** Fires when the signal of every task has: timeout, shutdown past its deadline, lost leases. Its `reason` is the error. */
  get signal(): AbortSignal {
    return this.run.signal;
  }

  /** When the batch runs into its timeout, ms since 1970; undefined without one. */
  get deadline(): number | undefined {
    return this.run.deadline;
  }
}

/** What a request-scoped provider gets as `REQUEST` while a batch is handled. */
export interface BatchRequest {
  /** The payloads. */
  readonly data: readonly unknown[];
  readonly context: BatchContext;
}
