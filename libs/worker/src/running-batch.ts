import { JetlaneError } from '@jetlane/protocol';
import { startBatch } from '@jetlane/telemetry';
import type { BatchContext, BatchItem, ItemOutcome } from './batch-handler.js';
import { classifyError, type Outcome } from './classify.js';
import { type EndListener, outcomeOf, promiseOf, startTimeout } from './execute.js';
import type { BatchedHandler } from './handler-options.js';
import type { HeldTask, TaskHolder } from './held-task.js';
import type { TaskContext } from './task-context.js';

/** A task in a batch, or on its way into one. */
export class Entry implements BatchItem {
  constructor(
    readonly task: HeldTask,
    readonly data: unknown,
    readonly context: TaskContext,
  ) {}
}

/** Whom batches tell. */
export interface BatchListener extends EndListener {
  /** The run of a task begins. */
  started(task: HeldTask): void;
  /** Looks whether a task that has waited may still run; one that may not is brought to its end. */
  mayRun(task: HeldTask): boolean;
}

/** A batch from its start to the last outcome. An item that has to end before the others does so alone. */
export class RunningBatch implements TaskHolder {
  private controller: AbortController | undefined;
  private abortReason: Error | undefined;
  /** Items whose signal has fired. */
  private abortedItems = 0;
  private readonly startedAt = Date.now();
  private readonly timers: (() => void)[] = [];

  constructor(
    private readonly handler: BatchedHandler,
    private readonly entries: readonly Entry[],
    readonly group: string | undefined,
    private readonly listener: BatchListener,
  ) {}

  /** Never throws. */
  run(): void {
    const { handler, entries } = this;
    const { queue, type } = entries[0]!.task;
    for (const { task } of entries) this.startItem(task);
    const span = startBatch(
      queue,
      type,
      entries.map(({ task }) => task.span!),
    );
    const ended = (end: () => void, error?: unknown) => {
      for (const stop of this.timers) stop();
      span?.end(error);
      end();
    };
    const failed = (error: unknown) => ended(() => this.failed(error), error);
    try {
      const call = () => handler.handle(entries as readonly never[], new RunningBatchContext(this));
      const returned: unknown = span ? span.run(call) : call();
      const promise = promiseOf(returned);
      if (promise) promise.then((outcomes) => ended(() => this.finished(outcomes)), failed);
      else ended(() => this.finished(returned));
    } catch (error) {
      failed(error);
    }
  }

  private startItem(task: HeldTask): void {
    const { timeoutMs } = this.handler;
    task.holder = this;
    this.listener.started(task);
    // One timer each, since a task's own timeout may be shorter; without any there is none.
    if (timeoutMs !== undefined || task.headers.timeout !== undefined) this.timers.push(startTimeout(task, timeoutMs));
  }

  /** An error of the whole batch is an ordinary failed attempt of each item. */
  private failed(error: unknown): void {
    for (const { task } of this.entries) {
      const { attempt, retry: retryHeader } = task.headers;
      const run = { attempt, policy: this.handler.retry, retryHeader, aborted: task.aborted, shared: true };
      this.listener.ended(task, classifyError(error, run));
    }
  }

  private finished(outcomes: unknown): void {
    const { entries } = this;
    if (!Array.isArray(outcomes) || outcomes.length !== entries.length) return this.failed(wrongLength(entries, outcomes));
    for (let i = 0; i < entries.length; i++) {
      const { task } = entries[i]!;
      this.listener.ended(task, this.outcomeOf(task, outcomes[i] as ItemOutcome));
    }
  }

  /** What a handler returned for an item may be anything. */
  private outcomeOf(task: HeldTask, said: ItemOutcome): Outcome {
    try {
      if (said.success === true) return { kind: 'completed', result: said.result };
      if (said.success !== false) return outcomeOf(task, this.handler, notAnOutcome(task));
      const { error, retryable, delay } = said;
      const { attempt, retry: retryHeader } = task.headers;
      const verdict = { retryable: typeof retryable === 'boolean' ? retryable : undefined, delay };
      return classifyError(error, { attempt, policy: this.handler.retry, retryHeader, aborted: task.aborted, verdict });
    } catch {
      return outcomeOf(task, this.handler, notAnOutcome(task));
    }
  }

  aborted(_task: HeldTask, reason: Error): void {
    if (++this.abortedItems < this.entries.length) return;
    this.abortReason = reason;
    this.controller?.abort(reason);
  }

  giveUp(task: HeldTask, reason: Error): void {
    this.listener.ended(task, outcomeOf(task, this.handler, reason));
  }

  get first(): HeldTask {
    return this.entries[0]!.task;
  }

  get signal(): AbortSignal {
    this.controller ??= new AbortController();
    if (this.abortReason) this.controller.abort(this.abortReason);
    return this.controller.signal;
  }

  get deadline(): number | undefined {
    return this.handler.timeoutMs === undefined ? undefined : this.startedAt + this.handler.timeoutMs;
  }
}

class RunningBatchContext implements BatchContext {
  constructor(private readonly batch: RunningBatch) {}

  get queue(): string {
    return this.batch.first.queue;
  }
  get type(): string {
    return this.batch.first.type;
  }
  get group(): string | undefined {
    return this.batch.group;
  }
  get signal(): AbortSignal {
    return this.batch.signal;
  }
  get deadline(): number | undefined {
    return this.batch.deadline;
  }
}

function wrongLength(entries: readonly Entry[], outcomes: unknown): JetlaneError {
  const { type, queue } = entries[0]!.task;
  const got = Array.isArray(outcomes) ? `${outcomes.length} outcomes` : outcomes === undefined ? 'nothing' : `a ${typeof outcomes}`;
  return new JetlaneError(
    'wrong-batch-result',
    `the batch handler of "${type}" in queue "${queue}" returned ${got} for ${entries.length} items; return one outcome per item, in their order`,
    { details: { type, queue, items: entries.length } },
  );
}

const notAnOutcome = (task: HeldTask): JetlaneError =>
  new JetlaneError(
    'wrong-batch-result',
    `the batch handler of "${task.type}" returned no outcome for task "${task.id}"; expected {success: true, result} or {success: false, error}`,
    { details: { type: task.type, id: task.id } },
  );
