import { Core } from './core.js';
import type { Watcher } from './entry.js';
import { BatchingError, closedError, DrainTimeoutError, errorOf, itemFailed } from './errors.js';
import { chunks, type EnqueueManyOptions, type ProcessAllOptions, type Progress, Run, type Source } from './large.js';
import { type BatchedQueueOptions, compileOptions, type DeadItem } from './options.js';
import { type Duration, toMs } from './rules.js';
import type { BatchHandle, LoadedState, StorageDamage } from './storage.js';

/** How often a drain asks a broker that other processes share, in ms. */
const ASK_MS = 100;

/** Longest time in ms that a source without pauses may keep timers and sockets from their turn. */
const BREATH_MS = 10;

/**
 * Collects items and hands them to a processor in batches.
 * States: open → closing → closed; only `close` changes them. A queue with a storage opens it with the first call that needs it.
 */
export class BatchedQueue<T, R = void> extends Core<T, R> implements AsyncDisposable {
  readonly name = this.options.name;
  private readonly broker = this.options.storage?.kind === 'broker' ? this.options.storage : undefined;
  private opening: Promise<{ restored: number; damage: readonly StorageDamage[] }> | undefined;
  private closing: Promise<void> | undefined;

  /** @throws BatchingError `invalid-options` with all problems at once */
  constructor(options: BatchedQueueOptions<T, R>) {
    super(compileOptions(options));
  }

  /**
   * Items that were given up while nobody took them over (`onDead`), oldest first. None is ever dropped: take them. `onError` is told at
   * every 10,000. On JetStream the engine keeps them.
   */
  get deadLetters(): readonly DeadItem<T>[] {
    return Array.from(this.dead, (entry) => entry.letter());
  }

  /** Empties `deadLetters`, also in the storage, and hands them to the caller. */
  takeDeadLetters(): readonly DeadItem<T>[] {
    const letters = this.deadLetters;
    for (const entry of this.dead) this.release(entry);
    return letters;
  }

  /**
   * Accepts an item; resolves when it is accepted, which with a storage that is `sync`, or on JetStream, means stored.
   * @throws QueueFullError; BatchingError `item-too-large`, `queue-closed`, `storage-failed`, `invalid-options` (priority)
   */
  enqueue(item: T, priority = this.options.defaultPriority): Promise<BatchHandle<R>> {
    if (this.options.storage) return this.store(item, priority);
    // Not an async function, which would cost a third of all that an item costs.
    try {
      return Promise.resolve(this.admit(item, this.check(priority), this.options.dropBehavior));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Accepts all items of a source, reading no faster than there is room, whatever `dropBehavior` says: memory stays bounded.
   * A refused item is told to `onError` and does not stop the others. Rejects with what the source threw.
   */
  async enqueueMany(source: Source<T>, options: EnqueueManyOptions<T> = {}): Promise<{ accepted: number; rejected: number }> {
    await this.loadState();
    return this.pour(source, options);
  }

  /**
   * Processes a source of any size with flat memory; resolves when all of it is settled. Its items are not saved: the cursor is how
   * to go on after a crash. A refused item is told to `onError` and counts as failed. An abort of the signal ends the reading.
   * Not on JetStream: use enqueueMany there. @throws what the source or `onProgress` threw; BatchingError `queue-closed`
   */
  async processAll(source: Source<T>, options: ProcessAllOptions<T> = {}): Promise<Progress> {
    if (this.broker) throw new BatchingError('invalid-options', 'processAll does not go over JetStream; use enqueueMany');
    const run = new Run(options);
    await this.pour(source, options, (size) => run.chunk(size));
    this.hurry();
    while (!run.isOver()) await this.nextStep();
    return { ...run.progress };
  }

  /** Sends what waits now without waiting for batches to fill; resolves when these batches have ended. Limits and pauses hold. */
  async flush(): Promise<void> {
    await this.loadState();
    const mark = this.hurry();
    while (this.oldest() <= mark) await this.nextStep();
  }

  /**
   * Resolves when nothing is left, retries included; on JetStream, in the shared queue.
   * @throws DrainTimeoutError with what is left, also when the queue is closed meanwhile; the items stay in the queue
   */
  async drain(timeout: Duration = 30_000): Promise<void> {
    await this.loadState();
    const timeoutMs = toMs(timeout);
    const { clock, name } = this.options;
    const until = clock.now() + timeoutMs;
    this.hurry();
    for (;;) {
      const shared = (await this.broker?.depth()) ?? 0;
      // Nothing may be awaited between this look and the wait for the next step.
      const left = Math.max(shared, this.size + this.active.flat().length);
      const rest = until - clock.now();
      if (left === 0) return;
      if (!(rest > 0) || this.closing) {
        const message = `queue "${name}" still has ${left} item(s) after ${timeoutMs} ms; they stay in it`;
        throw new DrainTimeoutError('drain-timeout', message, { left: this.entries().map(({ item }) => item), leftCount: left });
      }
      if (this.seq > this.forced) this.hurry();
      await this.nextStep(this.broker ? Math.min(rest, ASK_MS) : rest);
    }
  }

  /**
   * Accepts nothing more, fires the processors' signal, waits for running batches up to `closeTimeout`. What is left stays in the
   * storage; without one it goes to `onDrop`, and its handles reject. On JetStream what this process holds is finished first.
   */
  close(): Promise<void> {
    this.closing ??= this.shut();
    return this.closing;
  }

  /** Drains for up to `closeTimeout`, then closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.closing && !this.broker)
      await this.drain(this.options.closeTimeout).catch((error: unknown) => this.problem(error, { during: 'dispose' }));
    await this.close();
  }

  /** Writes everything to the storage now. @throws BatchingError `storage-failed` */
  async saveState(): Promise<void> {
    await this.loadState();
    await this.journal?.save();
  }

  /**
   * Opens the storage and takes up what an earlier process left; calls that need it do it themselves. Damage is told to `onError` too.
   * @throws BatchingError `storage-failed`, `storage-locked`
   */
  loadState(): Promise<{ restored: number; damage: readonly StorageDamage[] }> {
    this.opening ??= this.open().catch((error: unknown) => {
      this.opening = undefined;
      throw error;
    });
    return this.opening;
  }

  /** Counts and times (ms) of this process since its start. `successRate` is of items settled by the processor, 1 when there were none. */
  stats() {
    const { counts, size, active, aside, bytes, waitTimes, runTimes } = this;
    const successRate = counts.succeeded === 0 && counts.dead === 0 ? 1 : counts.succeeded / (counts.succeeded + counts.dead);
    const times = { waitMs: waitTimes.summary(), runMs: runTimes.summary() };
    return { ...counts, size, running: active.flat().length, delayed: aside.size, bytes, successRate, ...times };
  }

  private check(priority: number): number {
    const { name, priorityLevels: levels } = this.options;
    if (this.closing) throw closedError(name);
    if (Number.isInteger(priority) && priority >= 0 && priority < levels) return priority;
    throw new BatchingError('invalid-options', `expected priority to be a whole number from 0 to ${levels - 1}; got ${priority}`);
  }

  private async store(item: T, priority: number): Promise<BatchHandle<R>> {
    if (!this.closing) await this.loadState();
    this.check(priority);
    if (this.broker) return this.enqueued(item, await this.broker.enqueue(item, priority));
    return this.admit(item, priority, this.options.dropBehavior);
  }

  /** Offers a source in chunks, each when there is room for it. @param begin gives who watches a chunk */
  private async pour(source: Source<T>, options: ProcessAllOptions<T>, begin?: (size: number) => Watcher) {
    const { priority = this.options.defaultPriority, signal, cursor = 0 } = options;
    const { batchSize, concurrency, maxQueueSize } = this.options;
    const window = Math.min(maxQueueSize, Math.max(1000, 4 * batchSize * (concurrency + 1)));
    let read = 0;
    let rejected = 0;
    let breath = performance.now();
    for await (const items of chunks(source, cursor, Math.min(batchSize, window))) {
      if (signal?.aborted) break;
      read += items.length;
      while (this.size > 0 && this.size + items.length > window && !this.closing) await this.nextStep();
      const watcher = begin?.(items.length);
      const open: Promise<unknown>[] = [];
      const refuse = (item: T, error: unknown) => {
        rejected++;
        watcher?.(errorOf(error), this.closing !== undefined);
        void this.problem(error, { during: 'enqueueMany', items: [item] });
      };
      for (const item of items)
        try {
          const level = this.check(typeof priority === 'function' ? priority(item) : priority);
          const taken = this.broker ? this.enqueue(item, level) : this.admit(item, level, 'wait', watcher);
          if (taken instanceof Promise) open.push(taken.catch((error: unknown) => refuse(item, error)));
        } catch (error) {
          refuse(item, error);
        }
      await Promise.all(open);
      if (performance.now() - breath < BREATH_MS) continue;
      await new Promise(setImmediate);
      breath = performance.now();
    }
    return { accepted: read - rejected, rejected };
  }

  private async open(): Promise<{ restored: number; damage: readonly StorageDamage[] }> {
    await this.broker?.open({
      settings: this.options,
      failure: (id, attempts, cause) => itemFailed(this.name, id, attempts, cause),
      deliver: (item, { priority, attempt }) => this.restore({ item, priority, attempts: attempt - 1 }).result,
    });
    const { items, damage }: LoadedState<T> = (await this.journal?.load()) ?? { items: [], damage: [] };
    for (const about of damage) {
      const error = new BatchingError('storage-failed', `${about.where}: ${about.reason}`, { ...about });
      void this.problem(error, { during: 'load', damage: about });
    }
    for (const stored of items) this.restore(stored);
    return { restored: items.length, damage };
  }

  private async shut(): Promise<void> {
    const { closeTimeout, name, storage } = this.options;
    const opened = (await this.opening?.catch(() => undefined)) !== undefined;
    const failures: unknown[] = [];
    const failed = (error: unknown) => failures.push(error);
    if (opened && this.broker) {
      this.forced = Number.POSITIVE_INFINITY;
      this.wake();
      await this.broker.close(closeTimeout).catch(failed);
    }
    await this.stop(closeTimeout);
    const left = this.entries();
    if (opened) await this.journal?.close().catch(failed);
    for (const entry of left)
      if (storage) entry.settle('gone', closedError(name), true);
      else this.drop(entry, 'closed', closedError(name));
    this.wake();
    if (failures.length > 0) throw failures[0];
  }
}
