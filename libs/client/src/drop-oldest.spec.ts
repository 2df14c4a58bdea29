import { type Connection, connect, ensureQueue, TaskStore } from '@jetlane/jetstream';
import type { JetlaneError } from '@jetlane/protocol';
import { type NatsServer, startNatsServer, waitUntil } from '@jetlane/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LaneDropper } from './drop-oldest.js';

const QUEUE = { name: 'held', maxDepth: 3, dropBehavior: 'drop-oldest' } as const;
const BOUND = 20;

let nats: NatsServer;
let connection: Connection;
let store: TaskStore;
beforeAll(async () => {
  nats = await startNatsServer();
  connection = await connect({ servers: nats.url });
  await ensureQueue(connection, QUEUE);
  store = new TaskStore(connection);
});
afterAll(async () => {
  await connection.close();
  await nats.stop();
});

const publish = (key: string) => store.publishTask(QUEUE.name, 'normal', key, { headers: [], data: '', hop: 1 });

/** Takes all of the lane in hand. */
async function holdAll(): Promise<() => void> {
  const { stream, consumer } = connection.names.lane(QUEUE.name, 'normal');
  let held = 0;
  const puller = connection.puller({ stream, consumer, onDelivery: () => void held++, onEnd: () => undefined });
  puller.start(connection.epoch);
  puller.pull(QUEUE.maxDepth, 'wait');
  expect(await waitUntil(() => held === QUEUE.maxDepth)).toBe(true);
  return () => puller.stop();
}

it('lets so many wait for room and no more; when all of the lane is in hand they hear that it is full, and no longer count', async () => {
  for (const key of ['a', 'b', 'c']) await publish(key);
  const letGo = await holdAll();
  const dropper = new LaneDropper(connection, store, QUEUE, 'normal', BOUND);
  const codes = (count: number) =>
    Promise.all(
      Array.from({ length: count }, (_, i) =>
        dropper
          .retry(() => publish(`new${i}`))
          .then(
            () => 'stored',
            (error: JetlaneError) => error.code,
          ),
      ),
    );
  expect(await codes(BOUND + 3)).toEqual([...Array(BOUND).fill('queue-full'), ...Array(3).fill('publisher-overloaded')]);
  expect(await codes(BOUND)).toEqual(Array(BOUND).fill('queue-full'));
  letGo();
});
