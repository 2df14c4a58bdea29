import { type TaskContext, Worker } from '@jetlane/worker';
import { ageOf } from '../harness/arrivals.js';
import { type Job, type Measurement, QUEUE, TASK_TYPE } from '../harness/contract.js';
import { HANDLER_MS, measurePickups, SLOTS } from '../harness/priority.js';
import { openSession } from './session.js';

/** The worker; variant `idle` gets no low tasks, `strict` and `weighted` are the modes of the lanes, `reserved` is weighted with two slots for high tasks. */
export async function run(job: Job): Promise<Measurement> {
  const reserved = job.variant === 'reserved' || job.variant === 'idle' ? { reserved: { high: 2 } } : {};
  const mode = job.variant === 'strict' ? 'strict' : 'weighted';
  const session = await openSession(job, 'priority', { mode, ...reserved });
  let worker: Worker | undefined;
  const measured = await measurePickups(job, job.variant === 'idle', async ({ high, low }) => {
    const handle = async (_: unknown, { lane, key }: TaskContext) => {
      if (lane === 'high') high(ageOf(key));
      await new Promise((resolve) => setTimeout(resolve, HANDLER_MS));
      if (lane === 'low') low();
    };
    worker = new Worker(session.connection, { queue: QUEUE, concurrency: SLOTS, handlers: { [TASK_TYPE]: handle } });
    await worker.start();
  });
  await worker!.stop();
  await session.close();
  return measured;
}
