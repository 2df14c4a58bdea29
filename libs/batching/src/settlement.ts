import type { CompiledOptions } from './compile.js';
import type { Entry } from './entry.js';
import { errorOf, ItemFailedError } from './errors.js';
import { backoffMs, mayRetry } from './execute.js';
import type { Reporter } from './hooks.js';
import type { Journal } from './journal.js';
import type { BatchResult, DeadItem } from './options.js';
import type { StoredItem } from './storage.js';

/** Dead letters in memory; beyond it the oldest is dropped, and `onDrop` told. */
const MOST_DEAD = 10_000;

/** What settling works with. */
export interface SettlementContext<T, R> {
  readonly reporter: Reporter<T, R>;
  readonly journal: Journal<T> | undefined;
  /** A broker decides about retries and keeps the dead letters. */
  readonly broker: boolean;
  readonly again: (entry: Entry<T, R>, delayMs: number) => void;
}

/** Decides what becomes of items, and counts it: succeeded, again later, or given up. */
export class Settlement<T, R> {
  readonly dead: DeadItem<T>[] = [];
  readonly counts = { enqueued: 0, succeeded: 0, retried: 0, dead: 0, dropped: 0 };

  constructor(
    private readonly options: CompiledOptions<T, R>,
    private readonly context: SettlementContext<T, R>,
  ) {}

  drop(item: T, reason: 'overflow' | 'closed'): void {
    this.counts.dropped++;
    const { onDrop } = this.options.hooks;
    if (onDrop) this.context.reporter.guard('onDrop', () => onDrop(item, reason));
  }

  /** What becomes of an item after its batch. */
  settle(entry: Entry<T, R>, result: BatchResult<R>): void {
    entry.attempts++;
    if (!result.success) return this.failed(entry, result);
    this.counts.succeeded++;
    this.forget(entry);
    entry.succeed(result.value as R);
    const { onProcessed } = this.options.hooks;
    if (onProcessed)
      this.context.reporter.guard('onProcessed', () => onProcessed(entry.item, { value: result.value, attempts: entry.attempts }));
  }

  private failed(entry: Entry<T, R>, result: BatchResult<R> & { readonly success: false }): void {
    const error = errorOf(result.error ?? new Error('the processor gave no error'));
    void this.context.reporter.failure(error, { during: 'process', items: [entry.item] });
    const again = mayRetry(result, entry.attempts, this.options, (thrown) =>
      this.context.reporter.problem(thrown, { during: 'retryableCheck' }),
    );
    if (!again) return this.bury(entry, error);
    this.counts.retried++;
    if (this.context.broker) return entry.fail(new ItemFailedError(this.options.name, entry.id, entry.attempts, error, true));
    if (this.context.journal && !entry.watcher) this.context.journal.record(stored(entry));
    this.context.again(entry, backoffMs(this.options, entry.attempts));
  }

  private bury(entry: Entry<T, R>, error: Error): void {
    this.counts.dead++;
    const { item, id, priority, attempts } = entry;
    const letter = { item, id, priority, attempts, error };
    const { onDead } = this.options;
    if (!this.context.broker) {
      this.dead.push(letter);
      this.context.journal?.record({ ...stored(entry), dead: error.message });
    }
    if (onDead)
      this.context.reporter.guard('onDead', async () => {
        await onDead(letter);
        this.forgetDead(letter);
      });
    while (this.dead.length > MOST_DEAD) {
      this.drop(this.dead[0]!.item, 'overflow');
      this.forgetDead(this.dead[0]!);
    }
    entry.fail(new ItemFailedError(this.options.name, id, attempts, error));
  }

  private forgetDead(letter: DeadItem<T>): void {
    const index = this.dead.indexOf(letter);
    if (index >= 0) this.dead.splice(index, 1);
    this.context.journal?.record(letter.id);
  }

  /** The storage need not keep it any more. */
  forget(entry: Entry<T, R>): void {
    if (this.context.journal && !entry.watcher) this.context.journal.record(entry.id);
  }
}

export function stored<T, R>({ id, priority, attempts, item }: Entry<T, R>): StoredItem<T> {
  return { id, priority, attempts, item };
}
