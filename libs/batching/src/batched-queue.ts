import { type CompiledOptions, compileOptions } from './compile.js';
import { Engine } from './engine.js';
import { Entry, type Watcher } from './entry.js';
import { BatchingError, DrainTimeoutError, errorOf, ItemFailedError, QueueFullError } from './errors.js';
import { backoffMs, mayRetry } from './execute.js';
import { Reporter } from './hooks.js';
import { Journal } from './journal.js';
import { type EnqueueManyOptions, feed, type ProcessAllOptions, type ProcessSummary, processAll, type Source } from './large.js';
import type { BatchedQueueOptions, BatchResult, DeadItem, Duration } from './options.js';
import { toMs } from './check.js';
import type { BatchBroker, BatchHandle, StoredItem } from './storage.js';

/** Dead letters in memory; beyond it the oldest is dropped, and `onDrop` told. */
const MOST_DEAD = 10_000;

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
  private readonly controller = new AbortController();
  private opening: Promise<void> | undefined;
  private opened: boolean;
  private closing: Promise<void> | undefined;
  private lastId = 0;
  /** Accepted items that are on their way to a storage that is `sync`. */
  private readonly saving = new Set<Entry<T, R>>();
  private readonly turns: Turn<T, R>[] = [];
  private steps: (() => void)[] = [];
  private drains = 0;
  private dead: DeadItem<T>[] = [];
  private readonly counts = { enqueued: 0, succeeded: 0, retried: 0, dead: 0, dropped: 0 };

  /** @throws BatchingError `invalid-options` with all problems at once */
  constructor(options: BatchedQueueOptions<T, R>) {
    this.options = compileOptions(options);
    this.name = this.options.name;
    this.reporter = new Reporter(this.name, this.options.hooks);
    const outlets = { settle: (entry: Entry<T, R>, result: BatchResult<R>) => this.settle(entry, result), stepped: () => this.stepped() };
    this.engine = new Engine(this.options, this.reporter, outlets, this.controller.signal);
    const { storage, storageKey: key, saveMs, clock } = this.options;
    if (storage?.kind === 'broker') this.broker = storage;
    const failed = (error: Error) => this.reporter.problem(error, { during: 'save' });
    if (storage?.kind === 'journal') this.journal = new Journal(storage, { key, saveMs, clock, live: () => this.live(), failed });
    this.opened = storage === undefined;
  }

  /** Items that wait in this process, also for a retry. */
  get size(): number {
    return this.engine.size + this.saving.size;
  }

  /** Items that were given up while nobody took them over (`onDead`), oldest first, at most 10,000. On JetStream they are the engine's. */
  get deadLetters(): readonly DeadItem<T>[] {
    return this.dead;
  }

  /** Empties `deadLetters`, also in the storage, and hands them to the caller. */
  takeDeadLetters(): DeadItem<T>[] {
    for (const { id } of this.dead) this.journal?.record(id);
    return this.dead.splice(0);
  }

  /**
   * Accepts an item; resolves when it is accepted, which with a storage that is `sync`, or on JetStream, means stored.
   * @throws QueueFullError; BatchingError `item-too-large`, `queue-closed`, `storage-failed`, `invalid-options` (priority)
   */
  async enqueue(item: T, priority = this.options.defaultPriority): Promise<BatchHandle<R>> {
    if (!this.opened) await this.loadState();
    this.check(priority);
    if (!this.broker) return this.admit(item, priority, this.options.drop);
    const handle = await this.broker.enqueue(item, priority);
    this.tellEnqueued(item, handle);
    return handle;
  }

  /**
   * Accepts all items of a source, reading no faster than there is room, whatever `dropBehavior` says: memory stays bounded.
   * A refused item is told to `onError` and does not stop the others. Rejects with what the source threw.
   */
  async enqueueMany(source: Source<T>, options: EnqueueManyOptions<T> = {}): Promise<{ accepted: number; rejected: number }> {
    await this.loadState();
    let rejected = 0;
    const before = this.counts.enqueued;
    await this.readInto(source, 0, options, undefined, (error, item) => {
      rejected++;
      this.reporter.problem(error, { during: 'enqueueMany', items: [item] });
    });
    return { accepted: this.counts.enqueued - before, rejected };
  }

  /**
   * Processes a source of any size with flat memory; resolves when all of it is settled. Its items are not saved: the cursor is how
   * to go on after a crash. An abort of the signal ends the reading. Not on JetStream: use enqueueMany there.
   * @throws what the source or `onProgress` threw; BatchingError `queue-closed`, `item-too-large`
   */
  async processAll(source: Source<T>, options: ProcessAllOptions<T> = {}): Promise<Progress> {
    if (this.broker) throw new BatchingError('invalid-options', 'processAll does not go over JetStream; use enqueueMany');
    const run = new Run(options);
    await this.readInto(source, run.cursor, options, run);
    this.engine.hurry(true)
    return run.over();
  }
