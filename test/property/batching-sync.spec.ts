import type { BatchResult } from '@jetlane/batching';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Bench, type Item, LONG, play, ready, sorted } from './batching-fixture.js';

const given = fc.record({ batchSize: fc.integer({ min: 1, max: 9 }), concurrency: fc.integer({ min: 1, max: 3 }) });

describe('a processor that gives no promise', () => {
  it('is called in order, batch by batch, and every item is settled once, those that it adds itself too', async () => {
    await fc.assert(
      fc.asyncProperty(given, fc.array(fc.nat({ max: 3 }), { maxLength: 60 }), async (options, failures) => {
        const seen: number[] = [];
        const attempts = new Map<number, number>();
        const settle = ({ id }: Item): BatchResult<number> => {
          const attempt = (attempts.get(id) ?? 0) + 1;
          attempts.set(id, attempt);
          if (attempt === 1) seen.push(id);
          return attempt <= (failures[id] ?? 0) ? { success: false } : { success: true, value: id };
        };
        const bench: Bench = new Bench({
          ...options,
          retryStrategy: { maxRetries: 2, backoff: { initialDelay: 10 } },
          processor: (items) => {
            expect(items.length).toBeLessThanOrEqual(options.batchSize);
            // One more for the first half.
            for (const { id } of items)
              if (id < failures.length / 2 && !attempts.has(id)) void bench.queue.enqueue({ id: id + 1000, priority: 1 }, 1);
            return items.map(settle);
          },
        });
        const items = await play(
          bench,
          failures.map(() => ({ gap: 0, priority: 1 })),
        );
        await bench.clock.advance(LONG);
        const first = items.map(({ id }) => id);
        const more = first.filter((id) => id < failures.length / 2).map((id) => id + 1000);
        expect(seen.filter((id) => id < 1000)).toEqual(first);
        expect(sorted([...bench.succeeded, ...bench.dead])).toEqual(sorted([...first, ...more]));
        expect(sorted(bench.dead)).toEqual(first.filter((id) => failures[id] === 3));
        expect(bench.queue.stats()).toMatchObject({ size: 0, running: 0, delayed: 0 });
      }),
      { numRuns: 80 },
    );
  });

  it('and all that waits is over within one turn', async () => {
    const bench = new Bench({ batchSize: 2, processor: (items) => items.map(({ id }) => ({ success: true, value: id })) });
    bench.queue.pause();
    const handles = [];
    for (let id = 0; id < 7; id++) handles.push(await bench.queue.enqueue({ id, priority: 1 }));
    bench.queue.resume();
    const flushed = bench.queue.flush();
    await ready();
    expect(bench.succeeded).toEqual([0, 1, 2, 3, 4, 5, 6]);
    await flushed;
    expect(await Promise.all(handles.map(({ result }) => result))).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });
});
