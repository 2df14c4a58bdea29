import type { Job, Measurement } from '../harness/contract.js';
import { percentile } from '../harness/measure.js';
import { names, provision } from './admin.js';
import { WireLink } from './link.js';
import { publishTasks } from './publish.js';
import { keyOf } from './task.js';

const EMPTY = new Uint8Array(0);

/** One bare direct get after the other, by exact subject (the last message of it), over a lane that holds `count` tasks. */
export async function run(job: Job): Promise<Measurement> {
  const link = await WireLink.open(job.natsUrl, 'bench-wire-get');
  await provision(link, job.namespace);
  await publishTasks(link, job.namespace, job.count);
  const { laneStream, taskPrefix } = names(job.namespace);
  const times = new Float64Array(job.count);
  for (let index = 0; index < job.count; index += 1) {
    const subject = taskPrefix + keyOf((index * 7919) % job.count);
    const startedAt = performance.now();
    const found = await link.ask(`$JS.API.DIRECT.GET.${laneStream}.${subject}`, EMPTY);
    times[index] = performance.now() - startedAt;
    if (found.headers?.get('Nats-Subject') !== subject) throw new Error(`direct get of ${subject} found ${found.headers?.code}`);
  }
  await link.close();
  return { values: { p50: percentile(times, 0.5), p99: percentile(times, 0.99) } };
}
