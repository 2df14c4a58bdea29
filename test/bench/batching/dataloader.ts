import DataLoader from 'dataloader';
import { expectCount, type Job, type Measurement } from '../harness/contract.js';
import { Stopwatch } from '../harness/measure.js';
import { BATCH_SIZE, type Item, parts } from './load.js';

/** `load` of dataloader 2.2.3, batches of 100, its cache off. */
export async function run(job: Job): Promise<Measurement> {
  let processed = 0;
  const load = async (items: readonly Item[]) => {
    processed += items.length;
    return items;
  };
  const loader = new DataLoader(load, { maxBatchSize: BATCH_SIZE, cache: false });
  const watch = new Stopwatch(job.natsPid);
  for (const items of parts(job.count)) await Promise.all(items.map((item) => loader.load(item)));
  const values = watch.stop(job.count);
  expectCount('processed items', processed, job.count);
  return { values };
}
