import { TaskClient } from '@jetlane/client';
import { expectCount, type Job, LANE, type Measurement, QUEUE, TASK_TYPE } from '../harness/contract.js';
import { Stopwatch } from '../harness/measure.js';
import { payload } from '../harness/payload.js';
import { countMessages, names, newestShape } from '../wire/admin.js';
import { WINDOW } from '../wire/publish.js';
import { traceparentOf } from '../wire/task.js';
import { openSession } from './session.js';

/** Callers of a traced service: each task comes with its trace context, as the bare loop sends one. */
const taskOf = (index: number) => ({ queue: QUEUE, type: TASK_TYPE, data: payload, lane: LANE, traceparent: traceparentOf(index) });

/** Enqueue by the client; variant `many` feeds `enqueueMany` from an async iterable, `single` has many callers of `enqueue`. */
export async function run(job: Job): Promise<Measurement> {
  const session = await openSession(job, 'enqueue');
  const client = new TaskClient(session.connection);
  await client.start();
  const watch = new Stopwatch(job.natsPid);
  if (job.variant === 'many') await client.enqueueMany(tasks(job.count));
  else await callConcurrently(client, job.count);
  const values = watch.stop(job.count);
  const { laneStream } = names(job.namespace);
  expectCount('stored tasks', await countMessages(session.observer, laneStream), job.count);
  const stored = await newestShape(session.observer, laneStream, job.namespace);
  await client.close();
  await session.close();
  return { values, shapes: stored === undefined ? {} : { task: stored } };
}

async function* tasks(count: number) {
  for (let index = 0; index < count; index += 1) yield taskOf(index);
}

/** As many callers as the bare loop has messages in flight; each awaits its own enqueue before the next one. */
async function callConcurrently(client: TaskClient, count: number): Promise<void> {
  let left = count;
  const caller = async () => {
    for (; left > 0; ) {
      left -= 1;
      await client.enqueue(QUEUE, taskOf(left));
    }
  };
  await Promise.all(Array.from({ length: Math.min(count, WINDOW) }, caller));
}
