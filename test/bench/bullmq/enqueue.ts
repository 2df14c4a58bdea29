import { expectCount, type Job, type Measurement } from '../harness/contract.js';
import { Stopwatch } from '../harness/measure.js';
import { addJobs, closeQueue, openQueue } from './queue.js';

/** `addBulk` in bulks of 1000; variant: how many bulks are in flight (1 when empty). */
export async function run(job: Job): Promise<Measurement> {
  const queue = await openQueue(job);
  const watch = new Stopwatch(job.redisPid);
  await addJobs(queue, job.count, Number(job.variant || 1));
  const values = watch.stop(job.count);
  expectCount('waiting jobs', (await queue.getJobCounts('waiting')).waiting ?? 0, job.count);
  await closeQueue(job, queue);
  return { values };
}
