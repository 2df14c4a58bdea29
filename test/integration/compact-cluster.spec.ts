import { TaskClient } from '@jetlane/client';
import { type Connection, connect, ensureQueue, listLaneStreams, listLanes } from '@jetlane/jetstream';
import { LANES } from '@jetlane/protocol';
import { type NatsCluster, startNatsCluster } from '@jetlane/testing';
import { Worker } from '@jetlane/worker';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from './services-fixture.js';

const QUEUES = ['one', 'two', 'three', 'four'];
const EACH = 15;
let cluster: NatsCluster;
const links: Connection[] = [];
const workers: Worker[] = [];
const link = async (): Promise<Connection> => {
  const made = await connect({ servers: cluster.url, namespace: 'dense', topology: 'compact', replicas: 3 });
  links.push(made);
  return made;
};

beforeAll(async () => {
  cluster = await startNatsCluster();
}, 60_000);
afterAll(async () => {
  await Promise.all(workers.map((worker) => worker.stop({ timeout: 0 })));
  await Promise.all(links.map((made) => made.close()));
  await cluster.stop();
});

it('several queues on three nodes, defined by two processes at once: a node is killed, and every task of every lane is done', async () => {
  const both = [await link(), await link()];
  await Promise.all(both.map(async (one) => Promise.all(QUEUES.map((name) => ensureQueue(one, { name, lease: '2s' })))));
  const [own] = both as [Connection, Connection];
  const streams = await listLaneStreams(own);
  expect(streams.map(({ queue, consumers }) => [queue, consumers]).sort()).toEqual(QUEUES.map((name) => [name, 4]).sort());
  const client = new TaskClient(own);
  const tasks = QUEUES.flatMap((queue) =>
    LANES.flatMap((lane) => Array.from({ length: EACH }, (_, i) => ({ queue, lane, type: 't', key: `${lane}-${i}` }))),
  );
  const done = new Set<string>();
  const t = async (_: unknown, { queue, key }: { queue: string; key: string }) => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    done.add(`${queue}.${key}`);
  };
  for (const queue of QUEUES) {
    const worker = new Worker(await link(), { queue, concurrency: 4, handlers: { t } });
    workers.push(worker);
    await worker.start();
  }
  const sending = client.enqueueMany(tasks);
  await eventually('they run', () => done.size > 50, 60_000);
  const killed = cluster.servers.at(-1)!;
  killed.kill('SIGKILL');
  await killed.exited;
  expect(await sending).toMatchObject({ accepted: tasks.length, failed: 0 });
  await eventually('all is done on two nodes', () => done.size === tasks.length, 60_000);
  await eventually('all lanes are empty', async () => (await listLanes(own)).every(({ depth }) => depth === 0), 60_000);
  for (const queue of QUEUES) expect(await client.status(`${queue}.low-${EACH - 1}`)).toMatchObject({ state: 'completed' });
  await client.close();
}, 180_000);
