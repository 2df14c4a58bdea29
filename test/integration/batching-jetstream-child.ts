import { BatchedQueue } from '@jetlane/batching';
import { TaskClient } from '@jetlane/client';
import { connect } from '@jetlane/jetstream';
import { jetStreamStorage } from '@jetlane/worker/batching';

/** One of several processes that share a queue: says what it processes, and never ends by itself. */
const {
  url,
  namespace,
  queue: name,
  lease,
} = JSON.parse(process.argv[2]!) as { url: string; namespace: string; queue: string; lease: string };

const connection = await connect({ servers: url, namespace });
const queue = new BatchedQueue<{ id: number }>({
  name,
  batchSize: 8,
  flushInterval: 20,
  persistence: { storage: jetStreamStorage({ connection, client: new TaskClient(connection), definition: { lease } }) },
  processor: async (items) => {
    await new Promise((resolve) => setTimeout(resolve, 10));
    process.stdout.write(`${JSON.stringify({ event: 'processed', ids: items.map(({ id }) => id) })}\n`);
    return items.map(() => ({ success: true }));
  },
});
await queue.loadState();
process.stdout.write(`${JSON.stringify({ event: 'ready' })}\n`);
