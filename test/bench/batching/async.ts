import { cargoQueue } from 'async';
import { expectCount, type Job, type Measurement } from '../harness/contract.js';
import { Stopwatch } from '../harness/measure.js';
import { BATCH_SIZE, type Item, itemOf, parts, WINDOW } from './load.js';

/** `cargoQueue` of async 3.2.6, payload 100, one worker. Variant `many` pushes arrays, `single` one item at a time with a callback. */
export async function run(job: Job): Promise<Measurement> {
  let processed = 0;
  const cargo = cargoQueue<Item>(
    (items, done) => {
      processed += items.length;
      done();
    },
    1,
    BATCH_SIZE,
  );
  const noop = () => undefined;
  const watch = new Stopwatch(job.natsPid);
  if (job.variant === 'many') {
    for (const items of parts(job.count)) {
      cargo.push(items, noop);
      await cargo.drain();
    }
  } else {
    for (let id = 0; id < job.count; id += 1) {
      cargo.push(itemOf(id), noop);
      if (cargo.length() >= WINDOW) await cargo.drain();
    }
    if (!cargo.idle()) await cargo.drain();
  }
  const values = watch.stop(job.count);
  expectCount('processed items', processed, job.count);
  return { values };
}
