import { TaskClient } from '@jetlane/client';
import { type Connection, connect, ensureQueue } from '@jetlane/jetstream';
import { LANES, type Topology } from '@jetlane/protocol';
import { startNatsCluster } from '@jetlane/testing';
import { Worker } from '@jetlane/worker';
import { expectCount, type Job, type Measurement, QUEUE, TASK_TYPE } from '../harness/contract.js';
import { cpuMillis, Stopwatch } from '../harness/measure.js';

/** Tasks for each queue of the idle part, all in one queue on one server. */
const TASKS_PER_QUEUE = 1000;
const AT_ONCE = 4;
const CONCURRENCY = 512;

/**
 * What a topology (the variant) costs and gives: the CPU of three servers on which `count` queues with three replicas rest, and the rate at which a
 * worker drains one queue of one server whose tasks are spread over the four lanes.
 */
export async function run(job: Job): Promise<Measurement> {
  const topology = job.variant as Topology;
  return { values: { ...(await rest(job, topology)), ...(await drain(job, topology)) } };
}

async function rest({ namespace, count, durationMs }: Job, topology: Topology): Promise<Record<string, number>> {
  const cluster = await startNatsCluster();
  try {
    const connection = await connect({ servers: cluster.url, namespace, topology, replicas: 3 });
    const names = Array.from({ length: count }, (_, i) => `queue-${i}`);
    for (let i = 0; i < count; i += AT_ONCE)
      await Promise.all(names.slice(i, i + AT_ONCE).map((name) => ensureQueue(connection, { name })));
    await cluster.healthy();
    const streams = await countStreams(connection);
    const busy = () => cluster.servers.reduce((sum, { pid }) => sum + cpuMillis(pid ?? 0), 0);
    const before = busy();
    await new Promise((resolve) => setTimeout(resolve, durationMs));
    const idleCpu = (busy() - before) / (durationMs / 1000);
    await connection.close();
    return { idleCpu, streams };
  } finally {
    await cluster.stop();
  }
}

async function countStreams(connection: Connection): Promise<number> {
  return (await (await connection.admin()).getAccountInfo()).streams;
}

async function drain({ natsUrl, natsPid, namespace, count }: Job, topology: Topology): Promise<Record<string, number>> {
  const connection = await connect({ servers: natsUrl, namespace, topology });
  const client = new TaskClient(connection);
  await ensureQueue(connection, { name: QUEUE });
  const total = count * TASKS_PER_QUEUE;
  const tasks = Array.from({ length: total }, (_, i) => ({ queue: QUEUE, type: TASK_TYPE, lane: LANES[i % LANES.length]!, data: { i } }));
  expectCount('accepted', (await client.enqueueMany(tasks)).accepted, total);
  let ran = 0;
  const worker = new Worker(connection, { queue: QUEUE, concurrency: CONCURRENCY, handlers: { [TASK_TYPE]: async () => void ran++ } });
  const watch = new Stopwatch(natsPid);
  await worker.start();
  const deadline = performance.now() + 300_000;
  const depth = async () => (await client.stats(QUEUE))[0]?.depth;
  while (ran < total && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 5));
  const values = watch.stop(total);
  while ((await depth()) !== 0 && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
  await worker.stop();
  expectCount('ran', ran, total);
  await client.close();
  await connection.close();
  return values;
}
