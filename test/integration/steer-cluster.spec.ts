import { JetlaneAdmin } from '@jetlane/client';
import { type Connection, connect, consumerState, ensureQueue, listLanes, TaskStore } from '@jetlane/jetstream';
import type { QueueJob } from '@jetlane/protocol';
import { type NatsCluster, startNatsCluster } from '@jetlane/testing';
import { Worker } from '@jetlane/worker';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Steering } from '../../apps/queue-manager/src/steering/steering.js';
import { eventually, keepingLog } from './services-fixture.js';

let cluster: NatsCluster;
const links: Connection[] = [];
let steering: Steering;
const link = async (): Promise<Connection> => {
  const made = await connect({ servers: cluster.url, namespace: 'steer-cluster', replicas: 3 });
  links.push(made);
  return made;
};
const queue = 'clustered';
beforeAll(async () => {
  cluster = await startNatsCluster();
  await ensureQueue(await link(), { name: queue });
  steering = new Steering(await link(), { log: keepingLog(), saveMs: 200 });
  await steering.start();
}, 120_000);
afterAll(async () => {
  await steering.stop();
  await Promise.all(links.map((made) => made.close()));
  await cluster.stop();
});

const depth = async () => (await listLanes(links[0]!)).reduce((sum, lane) => sum + lane.depth, 0);

it('three replicas: a purge beside workers, and a pause: each task ran or was purged, none both', async () => {
  const admin = new JetlaneAdmin(links[0]!, 'tester');
  const store = new TaskStore(links[0]!);
  const keys = Array.from({ length: 300 }, (_, i) => `k${i}`);
  const task = { headers: [['Task-Type', 'noop'] as const], data: new Uint8Array(2), hop: 1 };
  await Promise.all(keys.map((key) => store.publishTask(queue, 'normal', key, { ...task, data: Buffer.from('{}') })));
  const ran = new Set<string>();
  const noop = async (_: unknown, { key }: { key: string }) => {
    await new Promise((resolve) => setTimeout(resolve, 20));
    ran.add(key);
  };
  const worker = new Worker(await link(), { queue, concurrency: 2, handlers: { noop } });
  await worker.start();
  await eventually('it runs', () => ran.size > 5, 60_000);
  let job = (await admin.queues.purge({ queue, all: true, rate: 100 })) as QueueJob;
  await eventually(
    'the purge has ended',
    async () => {
      job = await admin.jobs.get({ id: job.id });
      return job.state !== 'running';
    },
    60_000,
  );
  await eventually('nothing is left', async () => (await depth()) === 0, 60_000);
  expect(job.state).toBe('completed');
  expect(job.done).toBeGreaterThan(0);
  const states = await Promise.all(keys.map(async (key) => (await store.record(queue, key)).record?.state));
  const purged = keys.filter((_, i) => states[i] === 'cancelled');
  expect(purged.filter((key) => ran.has(key))).toEqual([]);
  expect(ran.size + purged.length).toBe(keys.length);
  // A delete that an election leaves unanswered was carried out all the same, and is not counted.
  expect(job.done).toBeLessThanOrEqual(purged.length);

  await admin.queues.pause({ queue });
  const { stream, consumer } = links[0]!.names.lane(queue, 'normal');
  await eventually('the leader knows', async () => (await consumerState(links[0]!, stream, consumer))?.paused === true);
  await admin.queues.resume({ queue });
  await eventually('the leader knows', async () => (await consumerState(links[0]!, stream, consumer))?.paused === false);
  await worker.stop();
}, 180_000);
