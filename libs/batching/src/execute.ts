import type { Entry } from './entry.js';
import { BatchingError } from './errors.js';
import type { BatchContext, BatchProcessor, BatchResult, CompiledOptions } from './options.js';

type Answer<R> = ReturnType<BatchProcessor<unknown, R>>;

/** Calls the processor. Never throws or rejects: whatever goes wrong is a failed result per item. */
export function execute<T, R>(items: readonly T[], context: BatchContext, processor: BatchProcessor<T, R>): Answer<R> {
  const failed = (error: unknown, how = {}) => items.map(() => ({ success: false as const, error, ...how }));
  const checked = (results: readonly BatchResult<R>[]) => {
    const fit = Array.isArray(results) && results.length === items.length && results.every((one) => typeof one?.success === 'boolean');
    // The effects of such a call are unknown and the next one would end the same way: the items are given up, not repeated.
    return fit ? results : failed(invalidResults(results, items.length, context), { retryable: false });
  };
  try {
    const results = processor(items, context);
    return Array.isArray(results) ? checked(results) : Promise.resolve(results).then(checked).catch(failed);
  } catch (error) {
    return failed(error);
  }
}

function invalidResults(results: unknown, expected: number, { queue, batch }: BatchContext): BatchingError {
  const got = Array.isArray(results) ? `${results.length} results, some perhaps without a boolean \`success\`` : String(results);
  const message = `the processor of queue "${queue}" must return one { success } per item, ${expected} for batch ${batch}; got ${got}`;
  return new BatchingError('invalid-results', message, { batch, expected });
}

/**
 * The entries of the first batch that the strategy makes of these, cut at the batch size.
 * @throws BatchingError `invalid-plan` when any batch holds something that does not wait, or holds it twice
 */
export function plan<T, R>(entries: readonly Entry<T, R>[], options: CompiledOptions<T, R>, size: number): Entry<T, R>[] {
  const refuse = (what: string) =>
    new BatchingError('invalid-plan', `the batching strategy of queue "${options.name}" ${what}; its items stay queued`);
  const batches = options.batchingStrategy!(entries.map(({ item }) => item));
  if (!Array.isArray(batches) || !batches.every(Array.isArray)) throw refuse('did not return an array of arrays');
  // Two equal strings are two items: each is given out as often as it waits.
  const waiting = new Map<T, Entry<T, R>[]>();
  for (const entry of entries.toReversed()) {
    const same = waiting.get(entry.item) ?? [];
    same.push(entry);
    waiting.set(entry.item, same);
  }
  const planned = batches.map((batch: readonly T[]) => batch.map((item) => waiting.get(item)?.pop()));
  if (planned.some((batch) => batch.includes(undefined))) throw refuse('returned an item that is not waiting, or one of them twice');
  return ((planned.find(({ length }) => length > 0) ?? []) as Entry<T, R>[]).slice(0, size);
}
