import type { CompiledOptions } from './compile.js';
import type { Entry } from './entry.js';
import { BatchingError } from './errors.js';
import type { BatchContext, BatchResult } from './options.js';

/** A batch under way. */
export interface Batch<T, R> {
  readonly number: number;
  readonly entries: readonly Entry<T, R>[];
  readonly items: readonly T[];
  /** Least place in the order of arrival among its entries. */
  readonly firstSeq: number;
}

/** A class, since the attempts are seldom asked for and a getter in a literal would make every call a hidden class of its own. */
class Call implements BatchContext {
  constructor(
    readonly queue: string,
    private readonly of: { readonly number: number; readonly entries: readonly { readonly attempts: number }[] },
    readonly signal: AbortSignal,
  ) {}

  get batch(): number {
    return this.of.number;
  }

  get attempts(): readonly number[] {
    return this.of.entries.map(({ attempts }) => attempts);
  }
}

/** Calls the processor. Never throws: whatever goes wrong is a failed result per item. */
export async function execute<T, R>(
  batch: Batch<T, R>,
  options: CompiledOptions<T, R>,
  signal: AbortSignal,
): Promise<readonly BatchResult<R>[]> {
  const context = new Call(options.name, batch, signal);
  try {
    const results = await options.processor(batch.items, context);
    return fits(results, batch)
      ? results
      : batch.items.map(() => ({ success: false, retryable: false, error: misfit(results, batch, options.name) }));
  } catch (error) {
    return batch.items.map(() => ({ success: false, error }));
  }
}

function fits(results: unknown, { items }: { readonly items: readonly unknown[] }): boolean {
  return Array.isArray(results) && results.length === items.length && results.every((result) => typeof result?.success === 'boolean');
}

/** The effects of such a call are unknown and the next one would end the same way: the items are given up, not repeated. */
function misfit(
  results: unknown,
  { items, number }: { readonly items: readonly unknown[]; readonly number: number },
  queue: string,
): BatchingError {
  const got = Array.isArray(results) ? `${results.length} results, some perhaps without a boolean \`success\`` : String(results);
  const message = `the processor of queue "${queue}" must return one { success } per item, ${items.length} for batch ${number}; got ${got}`;
  return new BatchingError('invalid-results', message, { batch: number, expected: items.length });
}

/** Whether a failed item comes again; `attempts` counts the one that just failed. */
export function mayRetry<T, R>(
  failed: BatchResult<R>,
  attempts: number,
  { retry }: CompiledOptions<T, R>,
  misled: (error: unknown) => void,
): boolean {
  if (failed.success || attempts > retry.maxRetries) return false;
  if (failed.retryable !== undefined || !retry.check) return failed.retryable ?? true;
  try {
    return retry.check(failed.error);
  } catch (error) {
    misled(error);
    return true;
  }
}

/** Delay before the retry after `attempts`, in ms: within the jitter of the curve, never above the cap. */
export function backoffMs(
  { retry }: Pick<CompiledOptions<never, never>, 'retry'>,
  attempts: number,
  random: () => number = Math.random,
): number {
  const plain = Math.min(retry.initialMs * retry.multiplier ** (attempts - 1), retry.maxMs);
  return Math.min(retry.maxMs, plain * (1 - retry.jitter + 2 * retry.jitter * random()));
}

/**
 * The entries of the first batch that the strategy makes of these, cut at the batch size.
 * @throws BatchingError `invalid-plan` when any batch holds something that does not wait, or holds it twice
 */
export function plan<T, R>(entries: readonly Entry<T, R>[], options: CompiledOptions<T, R>, size: number): Entry<T, R>[] {
  const batches = options.strategy!(entries.map(({ item }) => item));
  if (!Array.isArray(batches) || !batches.every(Array.isArray)) throw invalidPlan(options.name, 'did not return an array of arrays');
  // Two equal strings are two items: each is given out as often as it waits.
  const waiting = new Map<T, Entry<T, R>[]>();
  for (const entry of [...entries].reverse()) {
    const same = waiting.get(entry.item);
    if (same) same.push(entry);
    else waiting.set(entry.item, [entry]);
  }
  const planned = batches.map((batch: readonly T[]) => batch.map((item) => waiting.get(item)?.pop()));
  if (planned.some((batch) => batch.includes(undefined)))
    throw invalidPlan(options.name, 'returned an item that is not waiting, or one of them twice');
  return ((planned.find(({ length }) => length > 0) ?? []) as Entry<T, R>[]).slice(0, size);
}

const invalidPlan = (queue: string, what: string) =>
  new BatchingError('invalid-plan', `the batching strategy of queue "${queue}" ${what}; its items stay queued`, { queue });
