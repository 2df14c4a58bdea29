import { Worker } from 'bullmq';
import { expectCount, type Job, type Measurement } from '../harness/contract.js';
import { Stopwatch } from '../harness/measure.js';
import { addJobs, closeQueue, connectionOf, openQueue } from './queue.js';

/** A no-op worker over preloaded jobs; variant `<kept|none>-<concurrency>`: completed jobs stay, or none does. */
export async function run(job: Job): Promise<Measurement> {
  const [keep, concurrency] = job.variant.split('-');
  const queue = await openQueue(job);
  await addJobs(queue, job.count, 1);
  let firstAt = 0;
  const handler = async () => {
    if (firstAt === 0) firstAt = performance.now();
    return { ok: true };
  };
  const worker = new Worker(job.namespace, handler, {
    connection: connectionOf(job),
    autorun: false,
    concurrency: Number(concurrency),
    ...(keep === 'none' ? { removeOnComplete: { count: 0 } } : {}),
  });
  const done = allCompleted(worker, job.count);
  await worker.waitUntilReady();
  const watch = new Stopwatch(job.redisPid);
  const running = worker.run();
  await done;
  const values = watch.stop(job.count, { from: firstAt });
  await worker.close();
  await running;
  const counts = await queue.getJobCounts('waiting', 'active', 'failed', 'completed');
  expectCount('jobs not completed', (counts.waiting ?? 0) + (counts.active ?? 0) + (counts.failed ?? 0), 0);
  expectCount('completed jobs', counts.completed ?? 0, keep === 'none' ? 0 : job.count);
  await closeQueue(job, queue);
  return { values };
}

function allCompleted(worker: Worker, count: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let completed = 0;
    worker.on('completed', () => {
      completed += 1;
      if (completed === count) resolve();
    });
    worker.on('failed', (_job, error) => reject(error));
    worker.on('error', reject);
  });
}
