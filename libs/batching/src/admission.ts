import type { CompiledOptions } from './compile.js';
import type { Engine } from './engine.js';
import { Entry, type Watcher } from './entry.js';
import { BatchingError, QueueFullError } from './errors.js';
import type { Reporter } from './hooks.js';
import type { Journal } from './journal.js';
import { type Settlement, stored } from './settlement.js';
import type { BatchHandle } from './storage.js';

type Accepted<T, R> = Entry<T, R> | Promise<Entry<T, R>>;

/** An item that waits for room. */
interface Turn<T, R> {
  readonly entry: Entry<T, R>;
  readonly take: (accepted: Accepted<T, R>) => void;
  readonly refuse: (error: Error) => void;
}

/** What admitting works with. */
export interface AdmissionContext<T, R> {
  readonly reporter: Reporter<T, R>;
  readonly journal: Journal<T> | undefined;
  readonly engine: Engine<T, R>;
  readonly settlement: Settlement<T, R>;
}

/** Lets items in, within the limits: counts, drops, waits, and saves first where the storage is `sync`. */
export class Admission<T, R> {
  /** Accepted items that are on their way to such a storage. */
  readonly saving = new Set<Entry<T, R>>();
  readonly turns: Turn<T, R>[] = [];
  lastId = 0;

  constructor(
    private readonly options: CompiledOptions<T, R>,
    private readonly context: AdmissionContext<T, R>,
  ) {}

  get size(): number {
    return this.context.engine.size + this.saving.size;
  }

  /** Lets in who waits, in order, as far as there is room. */
  release(): void {
    while (this.turns.length > 0 && this.fits(this.turns[0]!.entry)) {
      const { entry, take } = this.turns.shift()!;
      take(this.accept(entry));
    }
  }

  /** @throws QueueFullError, BatchingError `item-too-large`, `storage-failed` */
  admit(item: T, priority: number, drop: CompiledOptions<T, R>['drop'], watcher?: Watcher): Accepted<T, R> {
    const bytes = this.options.maxBytes === Number.POSITIVE_INFINITY ? 0 : this.options.sizeOf(item);
    if (bytes > this.options.maxBytes)
      throw new BatchingError(
        'item-too-large',
        `an item of ${bytes} bytes does not fit maxBytes (${this.options.maxBytes}) of "${this.options.name}"`,
        { bytes },
      );
    const entry = new Entry<T, R>(++this.lastId, item, priority, bytes, watcher);
    if (this.turns.length === 0 && this.fits(entry)) return this.accept(entry);
    if (drop === 'wait') return new Promise((take, refuse) => this.turns.push({ entry, take, refuse }));
    while (drop === 'drop-oldest' && !this.fits(entry) && this.dropOldest());
    if (this.fits(entry)) return this.accept(entry);
    const [limit, value] =
      this.size >= this.options.maxSize
        ? (['maxQueueSize', this.options.maxSize] as const)
        : (['maxBytes', this.options.maxBytes] as const);
    throw new QueueFullError(this.options.name, limit, value);
  }

  private fits({ bytes }: Entry<T, R>): boolean {
    return this.size < this.options.maxSize && this.context.engine.bytes + bytes <= this.options.maxBytes;
  }

  private accept(entry: Entry<T, R>): Accepted<T, R> {
    if (this.context.journal && !entry.watcher) {
      this.context.journal.record(stored(entry));
      if (this.context.journal.sync) return this.saveFirst(entry, this.context.journal);
    }
    this.context.engine.add(entry);
    return this.tellEnqueued(entry.item, entry);
  }

  private async saveFirst(entry: Entry<T, R>, journal: Journal<T>): Promise<Entry<T, R>> {
    this.saving.add(entry);
    this.context.engine.bytes += entry.bytes;
    try {
      await journal.flush();
    } finally {
      this.saving.delete(entry);
      this.context.engine.bytes -= entry.bytes;
    }
    this.context.engine.add(entry);
    return this.tellEnqueued(entry.item, entry);
  }

  tellEnqueued<H extends BatchHandle<R>>(item: T, handle: H): H {
    this.context.settlement.counts.enqueued++;
    const { onEnqueue } = this.options.hooks;
    if (onEnqueue) this.context.reporter.guard('onEnqueue', () => onEnqueue(item, handle));
    return handle;
  }

  private dropOldest(): boolean {
    const entry = this.context.engine.dropOldest();
    if (!entry) return false;
    this.context.settlement.drop(entry.item, 'overflow');
    this.context.settlement.forget(entry);
    entry.fail(
      new BatchingError('item-dropped', `item ${entry.id} of queue "${this.options.name}" made room for a newer one`, { id: entry.id }),
    );
    return true;
  }
}
