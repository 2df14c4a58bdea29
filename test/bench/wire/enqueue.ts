import { expectCount, type Job, type Measurement } from '../harness/contract.js';
import { Stopwatch } from '../harness/measure.js';
import { countMessages, names, newestShape, provision } from './admin.js';
import { WireLink } from './link.js';
import { publishTasks } from './publish.js';

/** The bare enqueue loop: one connection, pipelined publishes, each with its PubAck. */
export async function run(job: Job): Promise<Measurement> {
  const link = await WireLink.open(job.natsUrl, 'bench-wire-enqueue');
  await provision(link, job.namespace);
  const watch = new Stopwatch(job.natsPid);
  await publishTasks(link, job.namespace, job.count);
  const values = watch.stop(job.count);
  const { laneStream } = names(job.namespace);
  expectCount('stored tasks', await countMessages(link, laneStream), job.count);
  const task = await newestShape(link, laneStream, job.namespace);
  await link.close();
  return { values, shapes: task === undefined ? {} : { task } };
}
