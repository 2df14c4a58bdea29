import type { Delivery } from '@jetlane/jetstream';
import { formatTaskId, type HopTimes, type Lane, NO_TASK_HEADERS, type TaskHeaders } from '@jetlane/protocol';
import type { ActiveProcess, HopMoments } from '@jetlane/telemetry';
import { RunNotes } from './run-notes.js';
import type { TaskContext } from './task-context.js';

/** How long a handler may take to end after its signal fired, in ms; then the worker goes on without it. */
export const ABORT_GRACE_MS = 500;

/** Whoever keeps a task among others: a collector while it waits for a batch, then the batch. */
export interface TaskHolder {
  /** The task's signal has fired. */
  aborted(task: HeldTask, reason: Error): void;
  /** The grace after it is over. */
  giveUp(task: HeldTask, reason: Error): void;
}

/**
 * A task that this worker holds. Its states: buffered → running → settling → settled, or lost from any of them.
 * The fetch loop moves it on; the lease keeper renews `leasedAt`; whoever finds the lease too old lets go of it.
 */
export class HeldTask {
  readonly key: string;
  headers: TaskHeaders = NO_TASK_HEADERS;
  type = '';
  startedAt = 0;
  finishedAt = 0;
  /** Length of the run, in microseconds. */
  runMicros = 0;
  /** What is wrong with the headers, if anything. */
  decodeError: unknown;
  span: ActiveProcess | undefined;
  private startedMark = 0;
  /** Deliveries suspected to have killed their worker, as the record says; -1 when the record was not read. */
  crashes = -1;
  /** Sequence of the task's record when it was read, or -1. */
  recordSequence = -1;
  /** What the task takes up in the fetch loop; changed by it alone. */
  slot: 'free' | 'running' | 'settling' = 'free';
  /** Set for a task of a batch. */
  holder: TaskHolder | undefined;
  /** Progress, log and timeout, if the run has any of them. */
  notes: RunNotes | undefined;
  /** The gate counts it as running; changed by the gate alone. */
  gated = false;
  /** Ends the run without its handler; set by whoever runs it. */
  giveUp: ((reason: Error) => void) | undefined;
  /** Neighbours in the list of what is held. */
  before: HeldTask | undefined;
  after: HeldTask | undefined;
  private controller: AbortController | undefined;
  private abortReason: Error | undefined;

  constructor(
    readonly queue: string,
    readonly lane: Lane,
    readonly delivery: Delivery,
    /** When the task came, ms since 1970. */
    readonly fetchedAt: number,
    /** `performance.now()` of the last moment at which the lease was surely ours. */
    public leasedAt: number,
  ) {
    this.key = delivery.key;
  }

  get id(): string {
    return formatTaskId(this.queue, this.key);
  }

  /** The signal is made when somebody asks for it; most handlers never do. */
  get signal(): AbortSignal {
    this.controller ??= new AbortController();
    if (this.abortReason) this.controller.abort(this.abortReason);
    return this.controller.signal;
  }

  /** The handler begins. */
  begin(): void {
    this.startedAt = Date.now();
    this.startedMark = performance.now();
  }

  /** The handler ended. */
  finish(): void {
    this.finishedAt = Date.now();
    this.runMicros = Math.round((performance.now() - this.startedMark) * 1000);
  }

  get aborted(): Error | undefined {
    return this.abortReason;
  }

  abort(reason: Error): void {
    if (this.abortReason) return;
    this.abortReason = reason;
    this.controller?.abort(reason);
    this.holder?.aborted(this, reason);
    setTimeout(() => {
      this.giveUp?.(reason);
      this.holder?.giveUp(this, reason);
    }, ABORT_GRACE_MS);
  }

  /** The notes, made if there are none yet. */
  note(): RunNotes {
    this.notes ??= new RunNotes();
    return this.notes;
  }

  /** The end of the run's timeout or the task's own deadline, whichever is first. */
  get deadline(): number | undefined {
    const own = this.headers.deadline ?? Number.POSITIVE_INFINITY;
    const end = this.notes?.timeoutMs ? this.startedAt + this.notes.timeoutMs : Number.POSITIVE_INFINITY;
    const first = Math.min(own, end);
    return first === Number.POSITIVE_INFINITY ? undefined : first;
  }

  /** The times of the hops so far, in the order of the way. */
  times(): HopTimes {
    // `undefined` and JSON go well together; spreading made this one of the dearest lines of a settlement.
    return {
      created: this.headers.createdAt,
      stored: this.delivery.storedAt,
      fetched: this.fetchedAt,
      started: this.startedAt || undefined,
      finished: this.finishedAt || undefined,
    };
  }

  /** The hops of this run for telemetry. Only the first hop began at the task's creation. @param settled when the outcome was written, or 0 */
  moments(settled: number): HopMoments {
    const { headers, delivery, fetchedAt: fetched, startedAt: started, finishedAt: finished } = this;
    return { created: headers.hop === 1 ? headers.createdAt : 0, stored: delivery.storedAt, fetched, started, finished, settled };
  }
}

/** Whom a run tells what its handler says meanwhile. */
export interface RunListener {
  progressed(task: HeldTask, progress: unknown): void;
  logged(task: HeldTask, line: string): void;
}

/** A context over a held task; nothing is copied, since most handlers read little of it. */
export class HeldTaskContext implements TaskContext {
  constructor(
    private readonly task: HeldTask,
    private readonly listener: RunListener,
  ) {}

  get id(): string {
    return this.task.id;
  }
  get key(): string {
    return this.task.key;
  }
  get queue(): string {
    return this.task.queue;
  }
  get lane(): Lane {
    return this.task.lane;
  }
  get type(): string {
    return this.task.type;
  }
  get attempt(): number {
    return this.task.headers.attempt;
  }
  get hop(): number {
    return this.task.headers.hop;
  }
  get delivery(): number {
    return this.task.delivery.count;
  }
  get fencingToken(): number {
    return this.hop * 1000 + this.delivery;
  }
  get group(): string | undefined {
    return this.task.headers.group;
  }
  get createdAt(): number {
    return this.task.headers.createdAt ?? this.task.delivery.storedAt;
  }
  get signal(): AbortSignal {
    return this.task.signal;
  }
  get traceparent(): string | undefined {
    return this.task.headers.traceparent;
  }
  get deadline(): number | undefined {
    return this.task.deadline;
  }
  progress(progress: number | object): void {
    this.listener.progressed(this.task, progress);
  }
  log(line: string): void {
    this.listener.logged(this.task, line);
  }
}
