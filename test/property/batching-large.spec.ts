import { BatchedQueue } from '@jetlane/batching';
import { describe, expect, it } from 'vitest';

const MB = 1024 * 1024;
const GROWTH_MB = 96;

function counting() {
  const state = { read: 0, processed: 0, furthest: 0 };
  const queue = new BatchedQueue<number>({
    name: 'large',
    batchSize: 100,
    concurrency: 2,
    processor: async (items) => {
      state.processed += items.length;
      return items.map(() => ({ success: true }));
    },
  });
  async function* source(from: number, to: number) {
    for (let id = from; id < to; id++) {
      state.read++;
      state.furthest = Math.max(state.furthest, state.read - state.processed);
      yield id;
    }
  }
  return { queue, state, source };
}

describe('large data sets', () => {
  it('are read no faster than they are processed, in flat memory', async () => {
    const { queue, state, source } = counting();
    let early = 0;
    let peak = 0;
    const onProgress = ({ cursor }: { cursor: number }) => {
      if (cursor % 10_000 !== 0) return;
      const rss = process.memoryUsage.rss();
      if (cursor <= 50_000) early = Math.max(early, rss);
      peak = Math.max(peak, rss);
    };
    expect(await queue.processAll(source(0, 500_000), { onProgress })).toEqual({ cursor: 500_000, succeeded: 500_000, failed: 0 });
    // Four batches per slot and one slot more, and what is running or read for the next chunk.
    expect(state.furthest).toBeLessThanOrEqual(4 * 100 * 3 + 4 * 100);
    expect((peak - early) / MB).toBeLessThan(GROWTH_MB);
    await queue.close();
  });

  it('enqueueMany waits for room too', async () => {
    const { queue, state, source } = counting();
    expect(await queue.enqueueMany(source(0, 50_000))).toEqual({ accepted: 50_000, rejected: 0 });
    await queue.drain();
    expect(state.processed).toBe(50_000);
    expect(state.furthest).toBeLessThanOrEqual(4 * 100 * 3 + 4 * 100);
    await queue.close();
  });

  it('can be stopped and taken up again at the cursor', async () => {
    const first = counting();
    const stop = new AbortController();
    const onProgress = ({ cursor }: { cursor: number }) => {
      if (cursor >= 3000) stop.abort();
    };
    const { cursor } = await first.queue.processAll(first.source(0, 20_000), { signal: stop.signal, onProgress });
    expect(cursor).toBe(first.state.processed);
    expect(cursor).toBeLessThan(20_000);
    const second = counting();
    const end = await second.queue.processAll((from) => second.source(from, 20_000), { cursor });
    expect(end.cursor).toBe(20_000);
    expect(second.state.processed).toBe(20_000 - cursor);
    await Promise.all([first.queue.close(), second.queue.close()]);
  });

  it('an item that is refused is told, counts as failed, and does not stop the others', async () => {
    const refused: unknown[] = [];
    const queue = new BatchedQueue<string>({
      name: 'refusing',
      maxBytes: 10,
      hooks: { onError: (error, { items }) => refused.push(error, items) },
      processor: (items) => items.map(() => ({ success: true })),
    });
    const end = await queue.processAll(['a', 'x'.repeat(20), 'b'], {});
    expect(end).toEqual({ cursor: 3, succeeded: 2, failed: 1 });
    expect(refused).toEqual([expect.objectContaining({ code: 'item-too-large' }), ['x'.repeat(20)]]);
    await queue.close();
  });

  it('end with what the progress callback or the source threw, or when the queue is closed', async () => {
    const { queue, source } = counting();
    const boom = () => {
      throw new Error('cursor not saved');
    };
    await expect(queue.processAll(source(0, 5000), { onProgress: boom })).rejects.toThrow('cursor not saved');
    const broken = (function* () {
      yield 1;
      throw new Error('source');
    })();
    await expect(queue.processAll(broken)).rejects.toThrow('source');
    queue.pause();
    const run = queue.processAll([1, 2, 3]).catch((error: unknown) => error);
    await expect.poll(() => queue.size).toBeGreaterThan(2);
    await queue.close();
    expect(await run).toMatchObject({ code: 'queue-closed' });
  });
});
