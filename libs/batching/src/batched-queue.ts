import { type CompiledOptions, compileOptions, toMs } from './compile.js';
import { Core } from './core.js';
import type { Watcher } from './entry.js';
import { BatchingError, closedError, DrainTimeoutError, ItemFailedError } from './errors.js';
import { chunks, type EnqueueManyOptions, type ProcessAllOptions, type Progress, Run, type Source } from './large.js';
import type { BatchedQueueOptions, DeadItem, Duration } from './options.js';
import type { BatchBroker, BatchHandle, StorageDamage } from './storage.js';

/** How often a drain asks a broker that other processes share, in ms. */
const ASK_MS = 100;

/** Longest time in ms that a source without pauses may keep timers and sockets from their turn. */
const BREATH_MS = 10;

/**
 * Collects items and hands them to a processor in batches.
 * States: open → closing → closed; only `close` changes them. A queue with a storage opens it with the first call that needs it.
 */
export class BatchedQueue<T, R = void> implements AsyncDisposable {
  readonly name: string;
  private readonly options: CompiledOptions<T, R>;
  private readonly core: Core<T, R>;
  private readonly broker: BatchBroker<T, R> | undefined;
  private opening: Promise<{ restored: number; damage: readonly StorageDamage[] }> | undefined;
  private closing: Promise<void> | undefined;

  /** @throws BatchingError `invalid-options` with all problems at once */
  constructor(options: BatchedQueueOptions<T, R>) {
    this.options = compileOptions(options);
    this.name = this.options.name;
    this.core = new Core(this.options);
    if (this.options.storage?.kind === 'broker') this.broker = this.options.storage;
  }

  /** Items that wait in this process, also for a retry. */
  get size(): number {
    return this.core.size;
  }

  /** Items that were given up while nobody took them over (`onDead`), oldest first. They count towards no limit: take them. On JetStream the engine keeps them. */
  get deadLetters(): readonly DeadItem<T>[] {
    return [...this.core.dead];
  }

  /** Empties `deadLetters`, also in the storage, and hands them to the caller. */
  takeDeadLetters(): DeadItem<T>[] {
    const letters = [...this.core.dead];
    for (const letter of letters) this.core.release(letter);
    return letters;
  }

  /**
   * Accepts an item; resolves when it is accepted, which with a storage that is `sync`, or on JetStream, means stored.
   * @throws QueueFullError; BatchingError `item-too-large`, `queue-closed`, `storage-failed`, `invalid-options` (priority)
   */
  async enqueue(item: T, priority = this.options.defaultPriority): Promise<BatchHandle<R>> {
    this.check(priority);
    if (this.options.storage) {
      await this.loadState();
      this.check(priority);
    }
    if (this.broker) return this.core.enqueued(item, await this.broker.enqueue(item, priority));
    return this.core.admit(item, priority, this.options.drop);
  }

  /**
   * Accepts all items of a source, reading no faster than there is room, whatever `dropBehavior` says: memory stays bounded.
   * A refused item is told to `onError` and does not stop the others. Rejects with what the source threw.
   */
  async enqueueMany(source: Source<T>, options: EnqueueManyOptions<T> = {}): Promise<{ accepted: number; rejected: number }> {
    await this.loadState();
    let rejected = 0;
    const read = await this.pour(source, 0, options, (error, item) => {
      rejected++;
      void this.core.reporter.problem(error, { during: 'enqueueMany', items: [item] });
    });
    return { accepted: read - rejected, rejected };
  }

  /**
   * Processes a source of any size with flat memory; resolves when all of it is settled. Its items are not saved: the cursor is how
   * to go on after a crash. An abort of the signal ends the reading. Not on JetStream: use enqueueMany there.
   * @throws what the source or `onProgress` threw; BatchingError `queue-closed`, `item-too-large`
   */
  async processAll(source: Source<T>, options: ProcessAllOptions<T> = {}): Promise<Progress> {
    if (this.broker) throw new BatchingError('invalid-options', 'processAll does not go over JetStream; use enqueueMany');
    const run = new Run(options);
    const refused = (error: unknown) => {
      throw error;
    };
    await this.pour(source, options.cursor ?? 0, options, refused, (size) => run.chunk(size));
    this.core.hurry();
    return run.over();
  }

  /** Starts no more batches until `resume`; what runs ends, what comes is accepted. On JetStream: this process only. */
  pause(): void {
    this.core.turn('paused');
  }

  resume(): void {
    this.core.turn('running');
  }

  /** Sends what waits now without waiting for batches to fill; resolves when these batches have ended. Limits and pauses hold. */
  async flush(): Promise<void> {
    await this.loadState();
    const mark = this.core.hurry();
    while (this.core.oldest() <= mark) await this.core.nextStep();
  }

  /**
   * Resolves when nothing is left, retries included; on JetStream, in the shared queue.
   * @throws DrainTimeoutError with what is left, also when the queue is closed meanwhile; the items stay in the queue
   */
  async drain(timeout: Duration = 30_000): Promise<void> {
    await this.loadState();
    const timeoutMs = toMs(timeout);
    const { core, broker } = this;
    const { clock, name } = this.options;
    const until = clock.now() + timeoutMs;
    core.drains++;
    core.hurry();
    try {
      for (;;) {
        const shared = await broker?.depth();
        // Nothing may be awaited between this look and the wait for the next step.
        const left = Math.max(shared ?? 0, core.size + core.running);
        const rest = until - clock.now();
        if (left === 0) return;
        const held = () => core.entries().map(({ item }) => item);
        if (!(rest > 0) || this.closing) throw new DrainTimeoutError(name, timeoutMs, held(), left);
        await core.nextStep(broker ? Math.min(rest, ASK_MS) : rest);
      }
    } finally {
      core.drains--;
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
      await this.drain(this.options.closeMs).catch((error: unknown) => this.core.reporter.problem(error, { during: 'dispose' }));
    await this.close();
  }

  /** Writes everything to the storage now. @throws BatchingError `storage-failed` */
  async saveState(): Promise<void> {
    await this.loadState();
    await this.core.journal?.save(true);
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
    const { counts, size, running, aside, bytes, waitTimes, runTimes } = this.core;
    const settled = counts.succeeded + counts.dead;
    const successRate = settled === 0 ? 1 : counts.succeeded / settled;
    return { ...counts, size, running, delayed: aside.size, bytes, successRate, waitMs: waitTimes.summary(), runMs: runTimes.summary() };
  }

  private check(priority: number): number {
    const { name, levels } = this.options;
    if (this.closing) throw closedError(name);
    if (Number.isInteger(priority) && priority >= 0 && priority < levels) return priority;
    throw new BatchingError('invalid-options', `expected priority to be a whole number from 0 to ${levels - 1}; got ${priority}`);
  }

  /** Offers a source in chunks, each when there is room for it. @param begin gives who watches a chunk @returns how many there were */
  private async pour(
    source: Source<T>,
    cursor: number,
    { priority = this.options.defaultPriority, signal }: EnqueueManyOptions<T>,
    refused: (error: unknown, item: T) => void,
    begin?: (size: number) => Watcher,
  ): Promise<number> {
    const { batchSize, concurrency, maxSize } = this.options;
    let read = 0;
    let breath = performance.now();
    const window = Math.min(maxSize, Math.max(1000, 4 * batchSize * (concurrency + 1)));
    for await (const items of chunks(source, cursor, Math.min(batchSize, window))) {
      if (signal?.aborted) break;
      read += items.length;
      while (this.size > 0 && this.size + items.length > window && !this.closing) await this.core.nextStep();
      const watcher = begin?.(items.length);
      const open: Promise<unknown>[] = [];
      for (const item of items)
        try {
          const level = this.check(typeof priority === 'function' ? priority(item) : priority);
          const taken = this.broker ? this.enqueue(item, level) : this.core.admit(item, level, 'wait', watcher);
          if (taken instanceof Promise) open.push(taken.catch((error: unknown) => refused(error, item)));
        } catch (error) {
          refused(error, item);
        }
      await Promise.all(open);
      if (performance.now() - breath < BREATH_MS) continue;
      await new Promise(setImmediate);
      breath = performance.now();
    }
    return read;
  }

  private async open(): Promise<{ restored: number; damage: readonly StorageDamage[] }> {
    const { core } = this;
    const { storageKey, batchSize, concurrency, levels: priorityLevels, retry } = this.options;
    const deliver = (item: T, about: { priority: number; attempt: number }) => core.resume(item, about.priority, about.attempt - 1).result;
    const failure = (id: string, attempts: number, cause: Error) => new ItemFailedError(this.name, id, attempts, cause);
    await this.broker?.open({ storageKey, batchSize, concurrency, priorityLevels, retry, deliver, failure });
    const { items, damage } = (await core.journal?.load()) ?? { items: [], damage: [] };
    for (const about of damage) {
      const error = new BatchingError('storage-failed', `${about.where}: ${about.reason}`, { ...about });
      void core.reporter.problem(error, { during: 'load', damage: about });
    }
    for (const { dead, ...rest } of items)
      if (dead === undefined) core.resume(rest.item, rest.priority, rest.attempts, rest.id);
      else core.dead.add({ ...rest, error: new Error(dead) });
    return { restored: items.length, damage };
  }

  private async shut(): Promise<void> {
    const { core, broker } = this;
    const { closeMs, clock, name } = this.options;
    const opened = (await this.opening?.catch(() => undefined)) !== undefined;
    try {
      if (opened && broker) {
        core.drains++;
        core.hurry();
        await broker.close(closeMs);
      }
      if (opened) await core.journal?.save();
    } finally {
      core.turn('stopped');
      core.controller.abort(closedError(name));
      const until = clock.now() + closeMs;
      for (let rest = closeMs; core.active.length > 0 && rest > 0; rest = until - clock.now()) await core.nextStep(rest);
      await this.leave(opened);
    }
  }

  /** Lets go of what is not settled: the storage has it, or `onDrop` is told. */
  private async leave(opened: boolean): Promise<void> {
    const left = this.core.entries();
    try {
      if (opened) await this.core.journal?.close();
    } finally {
      for (const entry of left) {
        entry.fail(closedError(this.name), true);
        if (!this.options.storage) this.core.drop(entry.item, 'closed');
      }
      this.core.wake();
    }
  }
}
