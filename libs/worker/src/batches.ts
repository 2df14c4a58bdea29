import type { Outcome } from './classify.js';
import { Collector, processTimers } from './collector.js';
import { failureOf, payloadOf, promiseOf } from './execute.js';
import type { BatchedHandler } from './handler-options.js';
import { type HeldTask, HeldTaskContext, type TaskHolder } from './held-task.js';
import type { CompiledOptions } from './options.js';
import { type BatchListener, Entry, RunningBatch } from './running-batch.js';

/**
 * Tasks of types with a batch handler. Each has a slot and a lease from the moment it comes here; it waits in the collector of its type
 * until its batch begins. When the worker stops, what waits is handed back at once, as anything else that never ran.
 */
export class Batches implements TaskHolder {
  private readonly collectors = new Map<string, Collector<Entry>>();
  /** Gaps that were changed while the worker runs, by type. */
  private readonly gaps = new Map<string, number>();
  /** Tasks in collectors. */
  private waiting = 0;
  private stopping = false;

  constructor(
    private readonly options: CompiledOptions,
    private readonly listener: BatchListener,
  ) {}

  /** Never throws: what is wrong with the payload, with `accept` or with `groupBy`, is the task's failure. */
  add(task: HeldTask, handler: BatchedHandler): void {
    if (this.stopping) return this.listener.ended(task, { kind: 'interrupted' });
    const context = new HeldTaskContext(task, this.listener);
    try {
      const payload = payloadOf(task);
      const { accept } = handler.batch;
      const data = accept ? task.span!.run(() => accept(payload as never, context)) : payload;
      const promise = accept && promiseOf(data);
      if (promise) this.joinLater(promise, new Entry(task, payload, context), handler);
      else this.join(new Entry(task, data, context), handler);
    } catch (error) {
      this.failed(task, error);
    }
  }

  /** While its payload is looked at, a task is in no collector: told to end, it ends alone, after its grace if need be. */
  private joinLater(accepted: Promise<unknown>, { task, context }: Entry, handler: BatchedHandler): void {
    task.giveUp = (reason) => this.failed(task, reason);
    const joined = accepted.then((data) => {
      task.giveUp = undefined;
      if (task.aborted) throw task.aborted;
      if (this.stopping) return this.listener.ended(task, { kind: 'interrupted' });
      this.join(new Entry(task, data, context), handler);
    });
    joined.catch((error: unknown) => this.failed(task, error));
  }

  private join(entry: Entry, handler: BatchedHandler): void {
    const { task } = entry;
    const group = groupOf(entry, handler);
    const collector = this.collectorOf(task.type, handler);
    this.waiting++;
    task.holder = this;
    // Suspected to have killed its worker: alone it cannot take the others of a batch along when it does so again.
    if (task.crashes > 0) collector.addAlone(entry, group);
    else collector.add(entry, group);
    if (this.waiting >= this.options.slots) this.beginFullest();
  }

  private failed(task: HeldTask, error: unknown): void {
    this.listener.ended(task, failureOf(task, error, this.options));
  }

  /** Another least gap between two batches of a type, in ms. */
  setMinGap(type: string, gapMs: number): void {
    this.gaps.set(type, gapMs);
    this.collectors.get(type)?.setGap(gapMs);
  }

  /** Hands back what waits, and what comes from now on. */
  stop(): void {
    this.stopping = true;
    for (const collector of this.collectors.values()) {
      for (const { task } of collector.takeAll()) this.out(task, { kind: 'interrupted' });
    }
  }

  /** A task that is cancelled, or whose lease is lost, while it waits leaves at once. */
  aborted(task: HeldTask, reason: Error): void {
    if (this.collectors.get(task.type)?.remove((entry) => entry.task === task)) this.out(task, failureOf(task, reason, this.options));
  }

  giveUp(): void {}

  private out(task: HeldTask, outcome: Outcome): void {
    this.waiting--;
    task.holder = undefined;
    this.listener.ended(task, outcome);
  }

  /** Every slot is taken by a task that waits: nothing more can come, for no batch. */
  private beginFullest(): void {
    let fullest: Collector<Entry> | undefined;
    for (const collector of this.collectors.values()) if (!fullest || collector.fullest > fullest.fullest) fullest = collector;
    fullest?.beginFullest();
  }

  private collectorOf(type: string, handler: BatchedHandler): Collector<Entry> {
    let collector = this.collectors.get(type);
    if (!collector) {
      const rule = { ...handler.batch, minGapMs: this.gaps.get(type) ?? handler.batch.minGapMs };
      collector = new Collector(rule, processTimers, (entries, group) => this.begin(type, entries, group));
      this.collectors.set(type, collector);
    }
    return collector;
  }

  /** The handler as it is now: the queue may have been defined anew, with another retry policy, since its first task came. */
  private begin(type: string, waited: Entry[], group: string | undefined): void {
    this.waiting -= waited.length;
    const handler = this.options.handlers.get(type) as BatchedHandler;
    const entries = waited.filter(({ task }) => this.listener.mayRun(task));
    if (entries.length > 0) new RunningBatch(handler, entries, group, this.listener).run();
  }
}

function groupOf({ task, data, context }: Entry, { batch: { groupBy } }: BatchedHandler): string | undefined {
  if (groupBy === undefined) return undefined;
  const group: unknown = groupBy === 'group' ? task.headers.group : groupBy(data as never, context);
  return group === undefined ? undefined : String(group);
}
