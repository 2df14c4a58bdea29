import { Worker } from '@jetlane/worker';
import { expectCount, type Job, type Measurement, QUEUE, TASK_TYPE } from '../harness/contract.js';
import { Stopwatch } from '../harness/measure.js';
import { countMessages, names, newestShape, untilEmpty } from '../wire/admin.js';
import { publishTasks } from '../wire/publish.js';
import { openSession } from './session.js';

/** Slots of the worker. More do not help a handler that does nothing, and what is in flight is what the garbage collector copies. */
const CONCURRENCY = 512;

/** Items of a batch in variant `batch`; the slots are a multiple of it, so that none waits for more. */
const BATCH = 100;
const BATCH_CONCURRENCY = 600;

/**
 * The worker over the same preloaded tasks as the bare loop; variant `none` keeps no records of completed tasks, `batch` has a handler of
 * batches that returns the same result for each.
 */
export async function run(job: Job): Promise<Measurement> {
  const keepRecords = job.variant !== 'none';
  const session = await openSession(job, 'process', keepRecords ? {} : { keep: 'none' });
  await publishTasks(session.observer, job.namespace, job.count);
  const { laneStream, stateStream } = names(job.namespace);
  let from = 0;
  const begun = () => {
    if (from === 0) from = performance.now();
  };
  const noop = async () => {
    begun();
    return { ok: true };
  };
  const handleBatch = async (items: readonly unknown[]) => {
    begun();
    return items.map(() => ({ success: true as const, result: { ok: true } }));
  };
  const batched = job.variant === 'batch';
  const worker = new Worker(session.connection, {
    queue: QUEUE,
    concurrency: batched ? BATCH_CONCURRENCY : CONCURRENCY,
    handlers: { [TASK_TYPE]: batched ? { handleBatch, size: BATCH, maxWait: 20 } : noop },
  });
  const watch = new Stopwatch(job.natsPid);
  await worker.start();
  const until = await untilEmpty(session.observer, laneStream);
  const values = watch.stop(job.count, { from, until });
  await worker.stop();
  expectCount('state records', await countMessages(session.observer, stateStream), keepRecords ? job.count : 0);
  const record = await newestShape(session.observer, stateStream, job.namespace);
  await session.close();
  return { values, shapes: record === undefined ? {} : { record } };
}
