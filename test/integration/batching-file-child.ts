import { BatchedQueue, fileSystemStorage } from '@jetlane/batching';

/** Fills a queue on disk as fast as it can until it is killed, and says what was accepted and what was processed. */
const { directory, sync, saveInterval, from } = JSON.parse(process.argv[2]!) as {
  directory: string;
  sync: boolean;
  saveInterval: number;
  from: number;
};

const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);

const queue = new BatchedQueue<{ id: number }>({
  name: 'orders',
  batchSize: 10,
  flushInterval: 5,
  persistence: { storage: fileSystemStorage({ directory, sync }), saveInterval },
  processor: async (items) => {
    await new Promise((resolve) => setTimeout(resolve, 2));
    say({ event: 'processed', ids: items.map(({ id }) => id) });
    return items.map(() => ({ success: true }));
  },
});

const { restored, damage } = await queue.loadState();
say({ event: 'loaded', restored, damage: damage.length });
// Faster than the processor, so that something is always waiting, and not without bound.
for (let id = from; ; ) {
  const ids = Array.from({ length: 12 }, () => id++);
  await Promise.all(ids.map((one) => queue.enqueue({ id: one })));
  say({ event: 'accepted', ids, at: Date.now() });
  while (queue.size > 200) await new Promise((resolve) => setTimeout(resolve, 1));
  await new Promise(setImmediate);
}
