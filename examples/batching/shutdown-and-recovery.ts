import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BatchedQueue, fileSystemStorage } from '@jetlane/batching';

/** A process ends with work left; the next one goes on with it. With `sync` the same holds when it is killed. */
const openQueue = (directory: string, done: number[], slow: boolean) =>
  new BatchedQueue<number>({
    name: 'orders',
    batchSize: 5,
    flushInterval: '5s',
    closeTimeout: '2s',
    persistence: { enabled: true, storageKey: 'orders', saveInterval: '100ms', storage: fileSystemStorage({ directory, sync: true }) },
    processor: async (orders, { signal }) => {
      // The signal fires when the queue closes: what was not done is left where it was, and fails as retryable.
      if (slow) await new Promise((resolve) => signal.addEventListener('abort', resolve));
      if (signal.aborted) return orders.map(() => ({ success: false, retryable: true, error: signal.reason }));
      done.push(...orders);
      return orders.map(() => ({ success: true }));
    },
    retryStrategy: { maxRetries: 3, backoff: { initialDelay: 10 } },
  });

export async function main(log: (line: string) => void = console.log): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'orders-'));
  const done: number[] = [];
  const first = openQueue(directory, done, true);
  for (let order = 0; order < 20; order++) await first.enqueue(order);
  // What a handler of SIGTERM does: give it a moment, then close.
  await first.drain(50).catch(() => log(`${first.size} of 20 wait when the first process ends`));
  await first.close();

  const second = openQueue(directory, done, false);
  const { restored, damage } = await second.loadState();
  log(`restored ${restored}, damaged ${damage.length}`);
  await second.drain('5s');
  log(`done ${done.length}, each once: ${new Set(done).size === 20}`);
  await second.close();
  await rm(directory, { recursive: true });
}
