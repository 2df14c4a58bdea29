import { BatchedQueue } from '@jetlane/batching';

/** Every hook, and the figures that a monitor asks for. A hook that throws is reported and does no harm. */
export async function main(log: (line: string) => void = console.log): Promise<void> {
  const counters = new Map<string, number>();
  const count = (name: string) => void counters.set(name, (counters.get(name) ?? 0) + 1);
  let deepest = 0;
  const queue = new BatchedQueue<number>({
    name: 'measured',
    batchSize: 4,
    flushInterval: 10,
    maxQueueSize: 8,
    dropBehavior: 'drop-oldest',
    processor: (numbers) => numbers.map((number) => ({ success: number !== 9, error: new Error('nine') })),
    hooks: {
      onEnqueue: () => count('enqueued'),
      onBatchStart: () => count('batches started'),
      onBatchComplete: ({ durationMs, failed }) => {
        count('batches completed');
        if (failed > 0 || durationMs > 1000) count('batches to look at');
      },
      onProcessed: () => count('processed'),
      onQueueSizeChange: (size) => {
        deepest = Math.max(deepest, size);
      },
      onError: (error, { during }) => log(`${during}: ${error.message}`),
      onDrop: (_, reason) => count(`dropped (${reason})`),
    },
  });
  queue.pause();
  for (let number = 0; number < 10; number++) await queue.enqueue(number);
  queue.resume();
  await queue.drain('5s');
  for (const [name, value] of [...counters].sort()) log(`${name} ${value}`);
  const { successRate, waitMs, runMs } = queue.stats();
  log(`success rate ${successRate}, deepest ${deepest}, times known ${waitMs.p99 >= 0 && runMs.p50 >= 0}`);
  await queue.close();
}
