import { TaskWorkers } from '@jetlane/nestjs';
import { expectCount, type Job, type Measurement } from '../harness/contract.js';
import { Stopwatch } from '../harness/measure.js';
import { countMessages, names, untilEmpty } from '../wire/admin.js';
import { publishTasks } from '../wire/publish.js';
import { firstRun, openApp } from './nest-app.js';
import { openSession } from './session.js';

/** The worker as an application with JetlaneModule runs it, over the same preloaded tasks as the worker alone. */
export async function run(job: Job): Promise<Measurement> {
  const session = await openSession(job, 'nest-process');
  await publishTasks(session.observer, job.namespace, job.count);
  const { laneStream, stateStream } = names(job.namespace);
  const app = await openApp(session.connection, job.variant);
  firstRun.at = 0;
  const watch = new Stopwatch(job.natsPid);
  await app.get(TaskWorkers).start();
  const until = await untilEmpty(session.observer, laneStream);
  const values = watch.stop(job.count, { from: firstRun.at, until });
  await app.close();
  expectCount('state records', await countMessages(session.observer, stateStream), job.count);
  await session.close();
  return { values };
}
