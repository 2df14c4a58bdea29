import { BatchedQueue } from '@jetlane/batching';

/** Push notifications: collected for up to 50 ms, sent 50 at a time over a service that takes lists. */
interface Notification {
  readonly user: string;
  readonly text: string;
}

/** Stands for the push service: tells for each message whether the device took it. */
async function push(messages: readonly Notification[]): Promise<boolean[]> {
  return messages.map(({ user }) => user !== 'gone');
}

export async function main(log: (line: string) => void = console.log): Promise<void> {
  await using queue = new BatchedQueue<Notification>({
    name: 'notifications',
    batchSize: 50,
    flushInterval: '50ms',
    processor: async (items) => {
      const delivered = await push(items);
      log(`sent ${items.length}`);
      return delivered.map((success) => ({ success, error: new Error('no such device') }));
    },
    onDead: ({ item, error }) => log(`not delivered to ${item.user}: ${(error as Error).message}`),
  });
  await queue.enqueueMany(Array.from({ length: 120 }, (_, index) => ({ user: index === 7 ? 'gone' : `user-${index}`, text: 'Hello' })));
  const late = await queue.enqueue({ user: 'late', text: 'Me too' });
  await late.result;
  log(`success rate ${queue.stats().successRate.toFixed(3)}`);
}
