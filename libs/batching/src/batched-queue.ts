import { Admission } from './admission.js';
import { toMs } from './check.js';
import { type CompiledOptions, compileOptions } from './compile.js';
import { Engine } from './engine.js';
import { Entry, type Watcher } from './entry.js';
import { BatchingError, DrainTimeoutError, errorOf } from './errors.js';
import { Reporter } from './hooks.js';
import { Journal } from './journal.js';
import { type EnqueueManyOptions, feed, type ProcessAllOptions, type Progress, Run, type Source } from './large.js';
import type { BatchedQueueOptions, BatchResult, DeadItem, Duration } from './options.js';
import { Settlement, stored } from './settlement.js';
import type { BatchBroker, BatchHandle, StorageDamage, StoredItem } from './storage.js';

/** How often a drain asks a broker that other processes share, in ms. */
const ASK_MS = 100;

/**
 * Collects items and hands them to a processor in batches.
 * States: open → closing → closed; only `close` changes them. A queue with a storage opens it with the first call that needs it.
 */
export class BatchedQueue<T, R = void> implements AsyncDisposable {
  readonly name: string;
  private readonly options: CompiledOptions<T, R>;
  private readonly reporter: Reporter<T, R>;
  private readonly engine: Engine<T, R>;
  private readonly journal: Journal<T> | undefined;
  private readonly broker: BatchBroker<T, R> | undefined;
  private readonly settlement: Settlement<T, R>;
  private readonly admission: Admission<T, R>;
  private readonly controller = new AbortController();
  private opening: Promise<{ restored: number; damage: readonly StorageDamage[] }> | undefined;
  private closing: Promise<void> | undefined;
  private steps: (() => void)[] = [];
  private drains = 0;

  /** @throws BatchingError `invalid-options` with all problems at once */
  constructor(options: BatchedQueueOptions<T, R>) {
    this.options = compileOptions(options);
    this.name = this.options.name;
    this.reporter = new Reporter(this.name, this.options.hooks);
    const outlets = {
      settle: (entry: Entry<T, R>, result: BatchResult<R>) => this.settlement.settle(entry, result),
      stepped: () => this.stepped(),
    };
    this.engine = new Engine(this.options, this.reporter, outlets, this.controller.signal);
    const { storage, storageKey: key, saveMs, clock } = this.options;
    const failed = (error: Error) => this.reporter.problem(error, { during: 'save' });
    if (storage?.kind === 'broker') this.broker = storage;
    if (storage?.kind === 'journal') this.journal = new Journal(storage, { key, saveMs, clock, live: () => this.live(), failed });
    const { engine, journal, reporter } = this;
    const again = (entry: Entry<T, R>, delayMs: number) => engine.addLater(entry, delayMs);
    this.settlement = new Settlement(this.options, { reporter, journal, broker: this.broker !== undefined, again });
    this.admission = new Admission(this.options, { engine, settlement: this.settlement, journal, reporter });
    if (!storage) this.opening = Promise.resolve({ restored: 0, damage: [] });
  }

  /** Items that wait in this process, also for a retry. */
  get size(): number {
    return this.admission.size;
  }

  /** Items that were given up while nobody took them over (`onDead`), oldest first, at most 10,000. On JetStream the engine keeps them. */
  get deadLetters(): readonly DeadItem<T>[] {
    return this.settlement.dead;
  }

  /** Empties `deadLetters`, also in the storage, and hands them to the caller. */
  takeDeadLetters(): DeadItem<T>[] {
    for (const { id } of this.settlement.dead) this.journal?.record(id);
    return this.settlement.dead.splice(0);
  }

  /**
   * Accepts an item; resolves when it is accepted, which with a storage that is `sync`, or on JetStream, means stored.
   * @throws QueueFullError; BatchingError `item-too-large`, `queue-closed`, `storage-failed`, `invalid-options` (priority)
   */
  async enqueue(item: T, priority = this.options.defaultPriority): Promise<BatchHandle<R>> {
    this.check(priority);
    if (!this.journal && !this.broker) return this.admission.admit(item, priority, this.options.drop);
    await this.loadState();
    this.check(priority);
    return this.broker
      ? this.admission.tellEnqueued(item, await this.broker.enqueue(item, priority))
      : this.admission.admit(item, priority, this.options.drop);
  }

  /**
   * Accepts all items of a source, reading no faster than there is room, whatever `dropBehavior` says: memory stays bounded.
   * A refused item is told to `onError` and does not stop the others. Rejects with what the source threw.
   */
  async enqueueMany(source: Source<T>, options: EnqueueManyOptions<T> = {}): Promise<{ accepted: number; rejected: number }> {
    await this.loadState();
    const count = { accepted: 0, rejected: 0 };
    const accepted = () => void count.accepted++;
    const refused = (error: unknown, item: T) => {
      count.rejected++;
      this.reporter.problem(error, { during: 'enqueueMany', items: [item] });
    };
    await this.read(source, 0, options, (item, priority) => {
      try {
        const taken = this.broker ? this.enqueue(item, priority) : this.admission.admit(item, this.check(priority), 'wait');
        return taken instanceof Promise ? taken.then(accepted, (error: unknown) => refused(error, item)) : accepted();
      } catch (error) {
        return refused(error, item);
      }
    });
    return count;
  }

  /**
   * Processes a source of any size with flat memory; resolves when all of it is settled. Its items are not saved: the cursor is how
   * to go on after a crash. An abort of the signal ends the reading. Not on JetStream: use enqueueMany there.
   * @throws what the source or `onProgress` threw; BatchingError `queue-closed`, `item-too-large`
   */
  async processAll(source: Source<T>, options: ProcessAllOptions<T> = {}): Promise<Progress> {
    if (this.broker) throw new BatchingError('invalid-options', 'processAll does not go over JetStream; use enqueueMany');
    const run = new Run(options);
    await this.read(
      source,
      run.cursor,
      options,
      (item, priority, watcher) => this.admission.admit(item, this.check(priority), 'wait', watcher),
      run,
    );
    void this.engine.flush();
    return run.over();
  }

  /** Starts no more batches until `resume`; what runs ends, what comes is accepted. On JetStream: this process only. */
  pause(): void {
    this.engine.pause();
  }

  resume(): void {
    this.engine.resume();
  }

  /** Sends what waits now without waiting for batches to fill; resolves when these batches have ended. Limits and pauses hold. */
  async flush(): Promise<void> {
    await this.loadState();
    return this.engine.flush();
  }

  /**
   * Resolves when nothing is left, retries included; on JetStream, in the shared queue.
   * @throws DrainTimeoutError with what is left, also when the queue is closed meanwhile; the items stay in the queue
   */
  async drain(timeout: Duration = 30_000): Promise<void> {
    await this.loadState();
    const timeoutMs = toMs(timeout);
    const until = this.options.clock.now() + timeoutMs;
    this.drains++;
    this.engine.hurry(true);
    try {
      for (let left = await this.left(); left > 0; left = await this.left()) {
        const rest = until - this.options.clock.now();
        if (!(rest > 0) || this.closing) throw new DrainTimeoutError(this.name, timeoutMs, this.held(), left);
        await this.nextStep(this.broker ? Math.min(rest, ASK_MS) : rest);
      }
    } finally {
      if (--this.drains === 0) this.engine.hurry(false);
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
      await this.drain(this.options.closeMs).catch((error: unknown) => this.reporter.problem(error, { during: 'dispose' }));
    await this.close();
  }

  /** Writes everything to the storage now. @throws BatchingError `storage-failed` */
  async saveState(): Promise<void> {
    await this.loadState();
    await this.journal?.snapshot();
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
    const { engine, size } = this;
    const { counts } = this.settlement;
    const settled = counts.succeeded + counts.dead;
    return {
      ...counts,
      size,
      running: engine.running,
      delayed: engine.delayed,
      bytes: engine.bytes,
      batches: engine.batches,
      successRate: settled === 0 ? 1 : counts.succeeded / settled,
      waitMs: engine.waitTimes.summary(),
      runMs: engine.runTimes.summary(),
    };
  }

  private check(priority: number): number {
    if (this.closing) throw this.closedError();
    if (Number.isInteger(priority) && priority >= 0 && priority < this.options.levels) return priority;
    throw new BatchingError(
      'invalid-options',
      `expected priority to be a whole number from 0 to ${this.options.levels - 1}; got ${priority}`,
    );
  }

  /** A batch began, which made room, or ended. */
  private stepped(): void {
    this.admission.release();
    for (const step of this.steps.splice(0)) step();
  }

  private nextStep(ms = Number.POSITIVE_INFINITY): Promise<void> {
    return new Promise((resolve) => {
      const off = ms === Number.POSITIVE_INFINITY ? undefined : this.options.clock.after(ms, resolve);
      this.steps.push(() => {
        off?.();
        resolve();
      });
    });
  }

  private async read(
    source: Source<T>,
    cursor: number,
    { priority = this.options.defaultPriority, signal }: EnqueueManyOptions<T>,
    admit: (item: T, priority: number, watcher: Watcher | undefined) => unknown,
    run?: Run,
  ): Promise<void> {
    const { batchSize, concurrency, maxSize } = this.options;
    const window = Math.min(maxSize, Math.max(1000, 4 * batchSize * (concurrency + 1)));
    const size = Math.min(batchSize, window);
    await feed(source, cursor, size, async (items) => {
      if (signal?.aborted) return false;
      while (this.size > 0 && this.size + items.length > window && !this.closing) await this.nextStep();
      const watcher = run?.chunk(items.length);
      const waiting: unknown[] = [];
      for (const item of items) {
        const taken = admit(item, typeof priority === 'function' ? priority(item) : priority, watcher);
        if (taken instanceof Promise) waiting.push(taken);
      }
      if (waiting.length > 0) await Promise.all(waiting);
      return true;
    });
  }

  private held(): T[] {
    return [...this.admission.saving, ...this.engine.entries(), ...this.admission.turns.map(({ entry }) => entry)].map(({ item }) => item);
  }

  private async left(): Promise<number> {
    const here = this.size + this.engine.running + this.admission.turns.length;
    return this.broker ? Math.max(here, await this.broker.depth()) : here;
  }

  /** What the next process must find. */
  private live(): StoredItem<T>[] {
    const waiting = [...this.admission.saving, ...this.engine.entries()].filter(({ watcher }) => !watcher);
    return [...waiting.map(stored), ...this.settlement.dead.map(({ error, ...about }) => ({ ...about, dead: errorOf(error).message }))];
  }

  private async open(): Promise<{ restored: number; damage: readonly StorageDamage[] }> {
    const { batchSize, concurrency, levels: priorityLevels, retry, storageKey } = this.options;
    const deliver = (item: T, about: { readonly priority: number; readonly attempt: number }) => this.deliver(item, about);
    await this.broker?.open({ storageKey, batchSize, concurrency, priorityLevels, retry, deliver });
    if (!this.journal) return { restored: 0, damage: [] };
    const { items, damage } = await this.journal.load();
    for (const about of damage)
      this.reporter.problem(new BatchingError('storage-failed', `${about.where}: ${about.reason}`, { ...about }), {
        during: 'load',
        damage: about,
      });
    for (const { id, item, priority, attempts, dead } of items) {
      this.admission.lastId = Math.max(this.admission.lastId, id);
      const level = Math.min(priority, this.options.levels - 1);
      if (dead !== undefined) this.settlement.dead.push({ item, id, priority: level, attempts, error: new Error(dead) });
      else this.engine.add(Object.assign(new Entry<T, R>(id, item, level, 0, undefined), { attempts }));
    }
    return { restored: items.length, damage };
  }

  private deliver(item: T, { priority, attempt }: { readonly priority: number; readonly attempt: number }): Promise<R> {
    const entry = new Entry<T, R>(++this.admission.lastId, item, priority, 0, undefined);
    entry.attempts = attempt - 1;
    this.engine.add(entry);
    return entry.result;
  }

  private async shut(): Promise<void> {
    const opened = await this.opening?.catch(() => undefined);
    try {
      if (opened && this.broker) {
        this.engine.hurry(true);
        await this.broker.close(this.options.closeMs);
      }
      if (opened) await this.journal?.flush();
    } finally {
      this.engine.stop();
      this.controller.abort(this.closedError());
      for (const { refuse } of this.admission.turns.splice(0)) refuse(this.closedError());
      await this.endOfBatches();
      await this.leave(opened !== undefined);
    }
  }

  private async endOfBatches(): Promise<void> {
    const until = this.options.clock.now() + this.options.closeMs;
    for (let rest = this.options.closeMs; this.engine.active.length > 0 && rest > 0; rest = until - this.options.clock.now())
      await this.nextStep(rest);
  }

  /** Lets go of what is not settled: the storage has it, or `onDrop` is told. */
  private async leave(opened: boolean): Promise<void> {
    const left = this.engine.entries();
    try {
      if (opened) await this.journal?.close();
    } finally {
      for (const entry of left) {
        entry.fail(this.closedError(), false);
        if (!this.options.storage) this.settlement.drop(entry.item, 'closed');
      }
      this.stepped();
    }
  }

  private closedError(): BatchingError {
    return new BatchingError('queue-closed', `queue "${this.name}" is closed; its storage, if it has one, keeps what was left`);
  }
}
