import { TaskClient } from '@jetlane/client';
import { Worker } from '@jetlane/worker';
import { type Job, LANE, type Measurement, QUEUE, TASK_TYPE } from '../harness/contract.js';
import { percentile } from '../harness/measure.js';
import { payload } from '../harness/payload.js';
import { names, untilEmpty } from '../wire/admin.js';
import { publishTasks } from '../wire/publish.js';
import { openSession, type Session } from './session.js';

/** Tasks in each state that is looked up, and other tasks that wait in the lane meanwhile. */
const TASKS = 1000;
const BACKLOG = 20_000;
const DOOMED = 'doomed';

/** One lookup after the other, `count` in every state. */
export async function run(job: Job): Promise<Measurement> {
  const session = await openSession(job, 'status');
  const client = new TaskClient(session.connection);
  const completed = await enqueue(client, { type: TASK_TYPE });
  const dead = await enqueue(client, { type: DOOMED });
  await workAll(session, job);
  const scheduled = await enqueue(client, { type: TASK_TYPE, delay: '1h' });
  await publishTasks(session.observer, job.namespace, BACKLOG);
  const queued = await enqueue(client, { type: TASK_TYPE });
  const values: Record<string, number> = {};
  for (const [state, ids] of Object.entries({ queued, completed, scheduled, dead })) {
    const times = await lookUp(client, ids, state, job.count);
    values[`${state} p50`] = percentile(times, 0.5);
    values[`${state} p99`] = percentile(times, 0.99);
  }
  await client.close();
  await session.close();
  return { values };
}

async function enqueue(client: TaskClient, task: { type: string; delay?: string }): Promise<string[]> {
  const answers = await Promise.all(Array.from({ length: TASKS }, () => client.enqueue(QUEUE, { ...task, data: payload, lane: LANE })));
  return answers.map(({ id }) => id);
}

/** Completes the tasks of the one type and gives up those of the other. */
async function workAll({ connection, observer }: Session, job: Job): Promise<void> {
  const doomed = {
    handle: async () => {
      throw new Error('this task always fails');
    },
    retry: { attempts: 1 },
  };
  const worker = new Worker(connection, {
    queue: QUEUE,
    concurrency: 256,
    handlers: { [TASK_TYPE]: async () => ({ ok: true }), [DOOMED]: doomed },
  });
  await worker.start();
  await untilEmpty(observer, names(job.namespace).laneStream);
  await worker.stop();
}

async function lookUp(client: TaskClient, ids: string[], state: string, count: number): Promise<Float64Array> {
  const times = new Float64Array(count);
  for (let index = 0; index < count; index += 1) {
    const id = ids[(index * 7919) % ids.length]!;
    const startedAt = performance.now();
    const found = await client.status(id);
    times[index] = performance.now() - startedAt;
    if (found?.state !== state) throw new Error(`status of ${id}: expected ${state}, found ${found?.state}`);
  }
  return times;
}
