import type { CompiledOptions } from './compile.js';
import { Entry, type Watcher } from './entry.js';
import { BatchingError, closedError, errorOf, ItemFailedError, QueueFullError } from './errors.js';
import { backoffMs, execute } from './execute.js';
import { Journal } from './journal.js';
import { Times } from './meter.js';
import type { BatchResult, DeadItem } from './options.js';
import { Scheduler } from './scheduler.js';
import type { BatchHandle, StoredItem } from './storage.js';

type Failure<R> = BatchResult<R> & { readonly success: false };

/** An item on its way in: a promise only when it must wait for room, or for the storage. */
export type Accepted<T, R> = Entry<T, R> | Promise<Entry<T, R>>;

/** Lets items in, within the limits, has them processed when the scheduler says, decides what becomes of them, and notes it. */
export class Core<T, R> extends Scheduler<T, R> {
  readonly journal: Journal<T> | undefined;
  readonly controller = new AbortController();
  readonly dead = new Set<DeadItem<T>>();
  readonly counts = { enqueued: 0, batches: 0, succeeded: 0, retried: 0, dead: 0, dropped: 0 };
  readonly runTimes = new Times();
  private lastId = 0;
  /** Those who wait for room: how many, and the last of them. */
  private waiting = 0;
  private lastTurn: Promise<unknown> = Promise.resolve();

  constructor(options: CompiledOptions<T, R>) {
    super(options);
    const failed = (error: unknown) => this.reporter.problem(error, { during: 'save' });
    if (options.storage?.kind === 'journal') this.journal = new Journal(options.storage, options, () => this.live(), failed);
  }

  /** @throws QueueFullError, BatchingError `item-too-large`, `storage-failed` */
  admit(item: T, priority: number, drop: CompiledOptions<T, R>['drop'], watcher?: Watcher): Accepted<T, R> {
    const { name, maxBytes, maxSize } = this.options;
    const entry = this.entry(item, priority, ++this.lastId, watcher);
    const { bytes } = entry;
    if (bytes > maxBytes)
      throw new BatchingError('item-too-large', `an item of ${bytes} bytes does not fit maxBytes (${maxBytes}) of "${name}"`, { bytes });
    if (drop === 'wait' && (this.waiting > 0 || !this.fits(entry))) return this.queueUp(entry);
    while (drop === 'drop-oldest' && !this.fits(entry) && this.dropOldest());
    if (this.fits(entry)) return this.accept(entry);
    throw this.size >= maxSize ? new QueueFullError(name, 'maxQueueSize', maxSize) : new QueueFullError(name, 'maxBytes', maxBytes);
  }

  /** Lets in an item that was accepted before, whatever the limits. */
  resume(item: T, priority: number, attempts: number, id = ++this.lastId): Entry<T, R> {
    const entry = this.entry(item, Math.min(priority, this.options.levels - 1), id);
    this.lastId = Math.max(this.lastId, id);
    entry.attempts = attempts;
    this.add(entry);
    return entry;
  }

  enqueued<H extends BatchHandle<R>>(item: T, handle: H): H {
    this.counts.enqueued++;
    if (this.options.hooks.onEnqueue) this.reporter.tell('onEnqueue', item, handle);
    return handle;
  }

  drop(item: T, reason: 'overflow' | 'closed'): void {
    this.counts.dropped++;
    this.reporter.tell('onDrop', item, reason);
  }

  /** Lets go of a dead letter. */
  release(letter: DeadItem<T>): void {
    this.dead.delete(letter);
    this.journal?.record(letter.id);
  }

  private entry(item: T, priority: number, id: number, watcher?: Watcher): Entry<T, R> {
    const bytes = this.options.maxBytes === Number.POSITIVE_INFINITY ? 0 : this.options.sizeOf(item);
    return new Entry(id, item, priority, bytes, watcher);
  }

  private fits({ bytes }: Entry<T, R>): boolean {
    return this.size < this.options.maxSize && this.bytes + bytes <= this.options.maxBytes;
  }

  /** Those who wait for room stand in a line: only the first looks whether there is some. */
  private queueUp(entry: Entry<T, R>): Promise<Entry<T, R>> {
    this.waiting++;
    const turn = this.lastTurn.then(async () => {
      while (this.state !== 'stopped' && !this.fits(entry)) await this.nextStep();
      this.waiting--;
      if (this.state === 'stopped') throw closedError(this.options.name);
      return this.accept(entry);
    });
    this.lastTurn = turn.catch(() => undefined);
    return turn;
  }

  private accept(entry: Entry<T, R>): Accepted<T, R> {
    this.note(entry);
    if (this.journal?.sync && !entry.watcher) return this.save(entry, this.journal);
    this.add(entry);
    return this.enqueued(entry.item, entry);
  }

  /** A crash before the storage has it loses an item that nobody was told is accepted (test: "with sync loses nothing that was accepted"). */
  private async save(entry: Entry<T, R>, journal: Journal<T>): Promise<Entry<T, R>> {
    this.setAside(entry, () => undefined);
    await journal.save().finally(() => this.takeBack(entry));
    this.add(entry);
    return this.enqueued(entry.item, entry);
  }

  private dropOldest(): boolean {
    const entry = this.backlog.dropOldest();
    if (!entry) return false;
    const { id, bytes, item } = entry;
    this.bytes -= bytes;
    this.drop(item, 'overflow');
    this.note(entry, true);
    entry.fail(new BatchingError('item-dropped', `item ${id} of queue "${this.options.name}" made room for a newer one`, { id }));
    return true;
  }

  /** Waits for the processor only when it gives a promise: many batches of one that does not are over within one turn. */
  protected run(entries: readonly Entry<T, R>[], startedAt: number): void {
    const items = entries.map(({ item }) => item);
    const attempts = entries.map((entry) => entry.attempts);
    const batch = ++this.counts.batches;
    this.reporter.tell('onBatchStart', { batch, items });
    const results = execute(items, this.options, { queue: this.options.name, batch, attempts, signal: this.controller.signal });
    const end = (given: readonly BatchResult<R>[]) => {
      const durationMs = this.options.clock.now() - startedAt;
      this.runTimes.record(durationMs);
      // Whoever closed the queue without waiting has settled them.
      for (let index = 0; index < entries.length; index++)
        if (entries[index]!.state === 'running') this.settle(entries[index]!, given[index]!);
      this.finish(entries);
      if (!this.options.hooks.onBatchComplete) return;
      const succeeded = given.filter(({ success }) => success).length;
      this.reporter.tell('onBatchComplete', { batch, items, succeeded, failed: items.length - succeeded, durationMs });
    };
    if (results instanceof Promise) void results.then(end);
    else end(results);
  }

  private settle(entry: Entry<T, R>, result: BatchResult<R>): void {
    entry.attempts++;
    if (!result.success) return this.failed(entry, result);
    this.counts.succeeded++;
    // A crash before the storage lets go of it repeats the item (test: "kill -9 at random moments").
    this.note(entry, true);
    entry.succeed(result.value as R);
    if (this.options.hooks.onProcessed) this.reporter.tell('onProcessed', entry.item, { value: result.value, attempts: entry.attempts });
  }

  private failed(entry: Entry<T, R>, result: Failure<R>): void {
    const { name, storage, retry, clock } = this.options;
    const error = errorOf(result.error ?? new Error('the processor gave no error'));
    void this.reporter.problem(error, { during: 'process', items: [entry.item] }, true);
    if (!this.mayRetry(entry, result)) return this.bury(entry, error);
    this.counts.retried++;
    // A broker decides about retries, and keeps the dead letters.
    if (storage?.kind === 'broker') return entry.fail(new ItemFailedError(name, entry.id, entry.attempts, error, true));
    entry.state = 'waiting';
    this.note(entry);
    const again = () => {
      this.takeBack(entry);
      this.add(entry);
    };
    this.setAside(entry, this.state === 'stopped' ? () => undefined : clock.after(backoffMs(retry, entry.attempts), again));
  }

  private mayRetry({ attempts }: Entry<T, R>, { retryable, error }: Failure<R>): boolean {
    const { check, maxRetries } = this.options.retry;
    try {
      return attempts <= maxRetries && (retryable ?? check?.(error) ?? true);
    } catch (thrown) {
      void this.reporter.problem(thrown, { during: 'retryableCheck' });
      return true;
    }
  }

  private bury(entry: Entry<T, R>, error: Error): void {
    const { onDead, storage, name } = this.options;
    const { item, id, priority, attempts } = entry;
    const letter = { item, id, priority, attempts, error };
    this.counts.dead++;
    if (storage?.kind !== 'broker') this.dead.add(letter);
    this.journal?.record(entry.stored(error));
    if (onDead)
      void this.reporter.guard('onDead', async () => {
        await onDead(letter);
        this.release(letter);
      });
    entry.fail(new ItemFailedError(name, id, attempts, error));
  }

  /** Has the storage keep an item as it is now, or let go of it. */
  private note(entry: Entry<T, R>, gone = false): void {
    if (this.journal && !entry.watcher) this.journal.record(gone ? entry.id : entry.stored());
  }

  /** What the next process must find. */
  private live(): StoredItem<T>[] {
    const waiting = this.entries().filter(({ watcher }) => !watcher);
    return [
      ...waiting.map((entry) => entry.stored()),
      ...Array.from(this.dead, ({ error, ...about }) => ({ ...about, dead: errorOf(error).message })),
    ];
  }
}
