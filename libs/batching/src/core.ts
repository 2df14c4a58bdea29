import { Entry, type Watcher } from './entry.js';
import { BatchingError, closedError, errorOf, itemFailed, QueueFullError } from './errors.js';
import { execute } from './execute.js';
import { Journal } from './journal.js';
import type { BatchResult, CompiledOptions } from './options.js';
import { Scheduler } from './scheduler.js';
import type { BatchHandle, StoredItem } from './storage.js';
import { Times } from './times.js';

type Failure<R> = BatchResult<R> & { readonly success: false };

/** An item on its way in: a promise only when it must wait for room, or for the storage. */
export type Accepted<T, R> = Entry<T, R> | Promise<Entry<T, R>>;

/** Dead letters are kept, however many; each time there are so many more, `onError` is told. */
const MANY_DEAD = 10_000;

/** Lets items in, within the limits, has them processed when the scheduler says, decides what becomes of them, and notes it. */
export abstract class Core<T, R> extends Scheduler<T, R> {
  protected readonly dead = new Set<Entry<T, R>>();
  protected readonly counts = { enqueued: 0, batches: 0, succeeded: 0, retried: 0, dead: 0, dropped: 0 };
  protected readonly runTimes = new Times();
  private lastId = 0;
  /** Those who wait for room: how many, and the last of them. */
  private waiting = 0;
  private lastTurn: Promise<unknown> = Promise.resolve();
  protected readonly journal =
    this.options.storage?.kind === 'journal'
      ? new Journal(this.options.storage, this.options, (error) => this.problem(error, { during: 'save' }))
      : undefined;

  /** @throws QueueFullError, BatchingError `item-too-large`, `storage-failed` */
  protected admit(item: T, priority: number, drop: CompiledOptions<T, R>['dropBehavior'], watcher?: Watcher): Accepted<T, R> {
    const { name, maxBytes, sizeOf } = this.options;
    const entry = new Entry<T, R>(++this.lastId, item, priority, sizeOf(item), watcher);
    const { bytes } = entry;
    if (bytes > maxBytes)
      throw new BatchingError('item-too-large', `an item of ${bytes} bytes does not fit maxBytes (${maxBytes}) of "${name}"`, { bytes });
    let limit = this.lacks(bytes);
    if (drop === 'wait' && (limit || this.waiting > 0)) return this.queueUp(entry);
    while (limit && drop === 'drop-oldest' && this.dropOldest()) limit = this.lacks(bytes);
    if (!limit) return this.accept(entry);
    const message = `queue "${name}" has reached ${limit} (${this.options[limit]}); try later, raise it, or use dropBehavior "wait"`;
    throw new QueueFullError('queue-full', message, { limit, value: this.options[limit] });
  }

  /** Takes up an item that was accepted before, whatever the limits, or keeps it as a dead letter. */
  protected restore({ id = this.lastId + 1, item, priority, attempts, dead }: Omit<StoredItem<T>, 'id'> & { id?: number }): Entry<T, R> {
    const { priorityLevels, sizeOf } = this.options;
    const entry = new Entry<T, R>(id, item, Math.min(priority, priorityLevels - 1), sizeOf(item));
    this.lastId = Math.max(this.lastId, id);
    entry.attempts = attempts;
    if (dead === undefined) this.add(entry);
    else this.bury(entry, new Error(dead));
    return entry;
  }

  protected enqueued<H extends BatchHandle<R>>(item: T, handle: H): H {
    this.counts.enqueued++;
    if (this.options.hooks.onEnqueue) this.tell('onEnqueue', item, handle);
    return handle;
  }

  protected drop(entry: Entry<T, R>, reason: 'overflow' | 'closed', error: BatchingError): void {
    this.counts.dropped++;
    this.tell('onDrop', entry.item, reason);
    entry.settle('gone', error, reason === 'closed');
  }

  /** Lets go of a dead letter. */
  protected release(letter: Entry<T, R>): void {
    this.dead.delete(letter);
    letter.state = 'gone';
    this.journal?.note(letter);
  }

  /** The limit that leaves no room for so many bytes. */
  private lacks(bytes: number): 'maxQueueSize' | 'maxBytes' | undefined {
    if (this.size >= this.options.maxQueueSize) return 'maxQueueSize';
    return this.bytes + bytes > this.options.maxBytes ? 'maxBytes' : undefined;
  }

  /** Those who wait for room stand in a line: only the first looks whether there is some. */
  private queueUp(entry: Entry<T, R>): Promise<Entry<T, R>> {
    this.waiting++;
    const turn = this.lastTurn.then(async () => {
      while (this.state !== 'stopped' && this.lacks(entry.bytes)) await this.nextStep();
      this.waiting--;
      if (this.state === 'stopped') throw closedError(this.options.name);
      return this.accept(entry);
    });
    this.lastTurn = turn.catch(() => undefined);
    return turn;
  }

  private accept(entry: Entry<T, R>): Accepted<T, R> {
    this.note(entry);
    if (this.journal?.storage.sync && !entry.watcher) return this.save(entry, this.journal);
    this.add(entry);
    return this.enqueued(entry.item, entry);
  }

  /** A crash before the storage has it loses an item that nobody was told is accepted (test: "with sync loses nothing that was accepted"). */
  private async save(entry: Entry<T, R>, journal: Journal<T, R>): Promise<Entry<T, R>> {
    this.setAside(entry, () => undefined);
    await journal.save().catch((error: unknown) => {
      this.aside.delete(entry);
      this.bytes -= entry.bytes;
      throw error;
    });
    this.add(entry);
    return this.enqueued(entry.item, entry);
  }

  private dropOldest(): boolean {
    const entry = this.backlog.dropOldest();
    if (!entry) return false;
    const { id, bytes } = entry;
    this.bytes -= bytes;
    const message = `item ${id} of queue "${this.options.name}" made room for a newer one`;
    this.drop(entry, 'overflow', new BatchingError('item-dropped', message, { id }));
    this.note(entry);
    this.wake();
    return true;
  }

  /** Waits for the processor only when it gives a promise: many batches of one that does not are over within one turn. */
  protected run(entries: readonly Entry<T, R>[], startedAt: number): void {
    const { name: queue, clock, hooks } = this.options;
    const items = entries.map(({ item }) => item);
    const attempts = entries.map((entry) => entry.attempts);
    const batch = ++this.counts.batches;
    this.tell('onBatchStart', { batch, items });
    const results = execute(items, { queue, batch, attempts, signal: this.controller.signal }, this.options.processor);
    const end = (given: readonly BatchResult<R>[]) => {
      const durationMs = clock.now() - startedAt;
      this.runTimes.record(durationMs);
      // Whoever closed the queue without waiting has settled them.
      for (let index = 0; index < entries.length; index++)
        if (entries[index]!.state === 'running') this.settle(entries[index]!, given[index]!);
      this.finish(entries);
      if (!hooks.onBatchComplete) return;
      const succeeded = given.filter(({ success }) => success).length;
      this.tell('onBatchComplete', { batch, items, succeeded, failed: given.length - succeeded, durationMs });
    };
    if (results instanceof Promise) void results.then(end);
    else end(results);
  }

  /** A crash before the storage lets go of it repeats the item (test: "kill -9 at random moments"). */
  private settle(entry: Entry<T, R>, result: BatchResult<R>): void {
    entry.attempts++;
    if (!result.success) this.failed(entry, result);
    else {
      this.counts.succeeded++;
      entry.settle('settled', result.value);
      if (this.options.hooks.onProcessed) this.tell('onProcessed', entry.item, { value: result.value, attempts: entry.attempts });
    }
    this.note(entry);
  }

  private failed(entry: Entry<T, R>, { error: given, retryable }: Failure<R>): void {
    const { name, storage, onDead, retryStrategy } = this.options;
    const error = errorOf(given ?? new Error('the processor gave no error'));
    void this.problem(error, { during: 'process', items: [entry.item] }, true);
    const mayPass = retryable ?? this.ask('retryableCheck', () => retryStrategy.retryableCheck?.(given) ?? true, true);
    if (mayPass && entry.attempts <= retryStrategy.maxRetries) {
      this.counts.retried++;
      // A broker decides about retries, and keeps the dead letters.
      if (storage?.kind === 'broker') entry.settle('gone', itemFailed(name, entry.id, entry.attempts, error, true));
      else this.retry(entry);
      return;
    }
    this.counts.dead++;
    this.bury(entry, error);
    if (onDead)
      void this.guard('onDead', async () => {
        await onDead(entry.letter());
        this.release(entry);
      });
  }

  /** After a delay within the jitter of the curve, never above the cap. */
  private retry(entry: Entry<T, R>): void {
    const { initialDelay, multiplier, maxDelay, jitter } = this.options.retryStrategy.backoff;
    const plain = Math.min(initialDelay * multiplier ** (entry.attempts - 1), maxDelay);
    const delay = Math.min(maxDelay, plain * (1 - jitter + 2 * jitter * Math.random()));
    entry.state = 'waiting';
    this.setAside(entry, this.state === 'stopped' ? () => undefined : this.options.clock.after(delay, () => this.add(entry)));
  }

  /** Keeps a dead letter, unless a broker does. */
  private bury(entry: Entry<T, R>, error: Error): void {
    const { name, storage } = this.options;
    entry.settle('dead', itemFailed(name, entry.id, entry.attempts, error));
    if (storage?.kind === 'broker' || this.dead.add(entry).size % MANY_DEAD !== 0) return;
    const message = `queue "${name}" keeps ${this.dead.size} dead letters in memory; take them (takeDeadLetters), or give it onDead`;
    void this.problem(new BatchingError('many-dead-letters', message), { during: 'dead letters' });
  }

  /** Has the storage learn what an entry is now. Those of a source that is processed as a whole are kept only when they are dead. */
  private note(entry: Entry<T, R>): void {
    if (this.journal && (!entry.watcher || entry.state === 'dead')) this.journal.note(entry);
  }
}
