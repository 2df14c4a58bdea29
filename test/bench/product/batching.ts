import { BatchedQueue, type BatchResult } from '@jetlane/batching';
import { BATCH_SIZE, type Item, itemOf, parts, WINDOW } from '../batching/load.js';
import { expectCount, type Job, type Measurement } from '../harness/contract.js';
import { Stopwatch } from '../harness/measure.js';

/** RSS may grow by so much over what it is after the first tenth, in MB: garbage that was not collected yet, not items. */
const FLAT_MB = 64;
const MB = 1024 * 1024;

/** Of a queue whose results are the items; the variants that ask for none say only that all went well. */
type Queue = BatchedQueue<Item, Item | undefined>;
type Results = readonly BatchResult<Item | undefined>[];

/**
 * The batched queue in memory with a processor that does nothing, batches of 100. Variant `many`: enqueueMany; `single`: one enqueue at a
 * time, all handles kept by nobody; `results`: each item given back, as dataloader does, and the result of every item awaited;
 * `iterable`: processAll, with flat memory or it fails.
 */
export async function run(job: Job): Promise<Measurement> {
  let processed = 0;
  const good: Results = Array.from({ length: BATCH_SIZE }, () => ({ success: true, value: undefined }));
  const giveBack = (items: readonly Item[]): Results => items.map((value) => ({ success: true, value }));
  const sayGood = (items: readonly Item[]): Results => (items.length === BATCH_SIZE ? good : good.slice(0, items.length));
  const answer = job.variant === 'results' ? giveBack : sayGood;
  const processor = (items: readonly Item[]) => {
    processed += items.length;
    return answer(items);
  };
  const queue: Queue = new BatchedQueue({ name: 'bench', batchSize: BATCH_SIZE, processor });
  const watch = new Stopwatch(job.natsPid);
  const more = await VARIANTS[job.variant as keyof typeof VARIANTS](queue, job.count);
  await queue.drain();
  const values = watch.stop(job.count);
  expectCount('processed items', processed, job.count);
  await queue.close();
  return { values: { ...values, ...more } };
}

const VARIANTS = { many, single, results, iterable };

async function many(queue: Queue, count: number): Promise<Record<string, number>> {
  for (const items of parts(count)) await queue.enqueueMany(items);
  return {};
}

async function single(queue: Queue, count: number): Promise<Record<string, number>> {
  for (let id = 0; id < count; id += 1) {
    void queue.enqueue(itemOf(id));
    if (queue.size >= WINDOW) await queue.drain();
  }
  return {};
}

async function results(queue: Queue, count: number): Promise<Record<string, number>> {
  for (const items of parts(count)) {
    const handles = await Promise.all(items.map((item) => queue.enqueue(item)));
    await Promise.all(handles.map(({ result }) => result));
  }
  return {};
}

async function iterable(queue: Queue, count: number): Promise<Record<string, number>> {
  let settledRss = 0;
  let peakRss = 0;
  const onProgress = ({ cursor }: { cursor: number }) => {
    if (cursor % 100_000 !== 0) return;
    const rss = process.memoryUsage.rss();
    if (cursor <= count / 10) settledRss = rss;
    peakRss = Math.max(peakRss, rss);
  };
  const { cursor } = await queue.processAll(generate(count), { onProgress });
  expectCount('cursor', cursor, count);
  const growth = (peakRss - settledRss) / MB;
  if (growth > FLAT_MB) throw new Error(`memory is not flat: RSS grew by ${growth.toFixed(0)} MB over ${count} items`);
  return { growth: Math.max(0, growth), peak: peakRss / MB };
}

async function* generate(count: number): AsyncGenerator<Item> {
  for (let id = 0; id < count; id += 1) yield itemOf(id);
}
