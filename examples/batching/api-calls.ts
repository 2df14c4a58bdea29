import { BatchedQueue, ItemFailedError } from '@jetlane/batching';

/** Calls of an API that is sometimes busy (429, worth a retry) and sometimes right to refuse (400, never worth one). */
class ApiError extends Error {
  constructor(readonly status: number) {
    super(`the API answered ${status}`);
  }
}

let busy = 2;

async function call(sku: string): Promise<number> {
  if (sku === '') throw new ApiError(400);
  if (busy-- > 0) throw new ApiError(429);
  return sku.length * 100;
}

export async function main(log: (line: string) => void = console.log): Promise<void> {
  busy = 2;
  await using queue = new BatchedQueue<string, number>({
    name: 'prices',
    batchSize: 10,
    flushInterval: 10,
    concurrency: 4,
    throttle: 5,
    retryStrategy: {
      maxRetries: 5,
      retryableCheck: (error) => !(error instanceof ApiError) || error.status >= 429,
      backoff: { initialDelay: 10, multiplier: 2, maxDelay: '1s', jitter: 0.2 },
    },
    processor: (skus) =>
      Promise.all(
        skus.map((sku) =>
          call(sku).then(
            (value) => ({ success: true as const, value }),
            (error: unknown) => ({ success: false as const, error }),
          ),
        ),
      ),
    onDead: ({ attempts, error }) => log(`given up after ${attempts} attempt(s): ${(error as Error).message}`),
  });
  const good = await queue.enqueue('lamp');
  const bad = await queue.enqueue('');
  log(`price ${await good.result}`);
  const error = await bad.result.catch((thrown: unknown) => thrown);
  log(`refused: ${error instanceof ItemFailedError && error.details.attempts === 1}`);
  log(`retried ${queue.stats().retried > 0}`);
}
