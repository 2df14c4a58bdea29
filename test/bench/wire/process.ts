import { expectCount, type Job, type Measurement } from '../harness/contract.js';
import { Stopwatch } from '../harness/measure.js';
import { countMessages, names, newestShape, provision, untilEmpty } from './admin.js';
import { WireLink } from './link.js';
import { publishTasks } from './publish.js';
import { WireWorker } from './work.js';

/** The bare worker loop over preloaded tasks; variant `none` keeps no records. */
export async function run(job: Job): Promise<Measurement> {
  const keepRecords = job.variant !== 'none';
  const link = await WireLink.open(job.natsUrl, 'bench-wire-process');
  const observer = await WireLink.open(job.natsUrl, 'bench-wire-observer');
  await provision(link, job.namespace);
  await publishTasks(link, job.namespace, job.count);
  const { laneStream, stateStream } = names(job.namespace);
  const worker = new WireWorker(link, job.namespace, keepRecords);
  const watch = new Stopwatch(job.natsPid);
  worker.start();
  const until = await untilEmpty(observer, laneStream);
  const values = watch.stop(job.count, { from: worker.firstAt, until });
  if (worker.failure !== undefined) throw worker.failure;
  expectCount('state records', await countMessages(observer, stateStream), keepRecords ? job.count : 0);
  const record = await newestShape(observer, stateStream, job.namespace);
  await observer.close();
  await link.close();
  return { values, shapes: record === undefined ? {} : { record } };
}
