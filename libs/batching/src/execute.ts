import type { CompiledOptions } from './compile.js';
import type { Entry } from './entry.js';
import { BatchingError } from './errors.js';
import type { BatchContext, BatchResult } from './options.js';

type Results<R> = readonly BatchResult<R>[];

/** Calls the processor. Never throws or rejects: whatever goes wrong is a failed result per item. */
export function execute<T, R>(
  items: readonly T[],
  options: CompiledOptions<T, R>,
  context: BatchContext,
): Results<R> | Promise<Results<R>> {
  const failed = (error: unknown, how = {}) => items.map(() => ({ success: false as const, error, ...how }));
  const checked = (results: unknown) => {
    if (fits(results, items.length)) return results as Results<R>;
    // The effects of such a call are unknown and the next one would end the same way: the items are given up, not repeated.
    const got = Array.isArray(results) ? `${results.length} results, some perhaps without a boolean \`success\`` : String(results);
    const message = `the processor of queue "${context.queue}" must return one { success } per item, ${items.length} for batch ${context.batch}; got ${got}`;
    return failed(new BatchingError('invalid-results', message, { batch: context.batch, expected: items.length }), { retryable: false });
  };
  try {
    const results = options.processor(items, context);
    return Array.isArray(results)
      ? checked(results)
      : Promise.resolve(results)
          .then(checked)
          .catch((error: unknown) => failed(error));
  } catch (error) {
    return failed(error);
  }
}

function fits(results: unknown, length: number): boolean {
  return Array.isArray(results) && results.length === length && results.every((result) => typeof result?.success === 'boolean');
}

/**
 * The entries of the first batch that the strategy makes of these, cut at the batch size.
 * @throws BatchingError `invalid-plan` when any batch holds something that does not wait, or holds it twice
 */
export function plan<T, R>(entries: readonly Entry<T, R>[], { name, strategy }: CompiledOptions<T, R>, size: number): Entry<T, R>[] {
  const refuse = (what: string) =>
    new BatchingError('invalid-plan', `the batching strategy of queue "${name}" ${what}; its items stay queued`, { queue: name });
  const batches = strategy!(entries.map(({ item }) => item));
  if (!Array.isArray(batches) || !batches.every(Array.isArray)) throw refuse('did not return an array of arrays');
  // Two equal strings are two items: each is given out as often as it waits.
  const waiting = new Map<T, Entry<T, R>[]>();
  for (const entry of entries.toReversed()) {
    const same = waiting.get(entry.item);
    if (same) same.push(entry);
    else waiting.set(entry.item, [entry]);
  }
  const planned = batches.map((batch: readonly T[]) => batch.map((item) => waiting.get(item)?.pop()));
  if (planned.some((batch) => batch.includes(undefined))) throw refuse('returned an item that is not waiting, or one of them twice');
  return ((planned.find(({ length }) => length > 0) ?? []) as Entry<T, R>[]).slice(0, size);
}

/** Delay before the retry after so many attempts, in ms: within the jitter of the curve, never above the cap. */
export function backoffMs({ initialMs, multiplier, maxMs, jitter }: CompiledOptions<never, never>['retry'], attempts: number): number {
  const plain = Math.min(initialMs * multiplier ** (attempts - 1), maxMs);
  return Math.min(maxMs, plain * (1 - jitter + 2 * jitter * Math.random()));
}
