import { DrainTimeoutError, QueueFullError } from '@jetlane/batching';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Bench, type Item, LONG, play, sorted } from './batching-fixture.js';

const LEVELS = 4;

/** When items come: how long after the one before, and of which priority. */
const arrivals = fc.array(fc.record({ gap: fc.nat({ max: 40 }), priority: fc.nat({ max: LEVELS - 1 }) }), { maxLength: 120 });
const options = fc.record({
  batchSize: fc.integer({ min: 1, max: 20 }),
  flushInterval: fc.nat({ max: 200 }),
  concurrency: fc.integer({ min: 1, max: 4 }),
  throttle: fc.constantFrom(0, 0, 7, 50),
  rateLimit: fc.option(fc.record({ items: fc.integer({ min: 1, max: 25 }), interval: fc.integer({ min: 5, max: 300 }) }), {
    nil: undefined,
  }),
});
const clean = <O extends { rateLimit?: unknown }>({ rateLimit, ...rest }: O) =>
  ({ ...rest, ...(rateLimit ? { rateLimit } : {}) }) as Omit<O, 'rateLimit'>;

describe('a queue under any load', () => {
  it('loses nothing, doubles nothing, and keeps batch size, concurrency, throttle and rate limit', async () => {
    await fc.assert(
      fc.asyncProperty(options, arrivals, fc.array(fc.nat({ max: 60 }), { minLength: 1 }), async (given, coming, runs) => {
        const bench = new Bench({ ...clean(given), priorityLevels: LEVELS }, undefined, (call) => runs[call % runs.length]!);
        const items = await play(bench, coming);
        await bench.clock.advance(LONG);
        expect(sorted(bench.ids())).toEqual(items.map(({ id }) => id));
        expect(sorted(bench.succeeded)).toEqual(items.map(({ id }) => id));
        expect(bench.queue.size).toBe(0);
        expect(bench.mostRunning).toBeLessThanOrEqual(given.concurrency);
        for (const { items: batch } of bench.calls) expect(batch.length).toBeLessThanOrEqual(given.batchSize);
        bench.calls.slice(1).forEach(({ at }, index) => {
          expect(at - bench.calls[index]!.at).toBeGreaterThanOrEqual(given.throttle);
        });
        if (given.rateLimit)
          for (const { at } of bench.calls) {
            const inside = bench.calls.filter((call) => call.at >= at && call.at < at + given.rateLimit!.interval);
            expect(inside.reduce((sum, call) => sum + call.items.length, 0)).toBeLessThanOrEqual(given.rateLimit.items);
          }
      }),
      { numRuns: 150 },
    );
  });

  it('keeps the order of priorities, and within one the order of arrival', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 9 }),
        fc.array(fc.nat({ max: LEVELS - 1 }), { maxLength: 60 }),
        async (batchSize, priorities) => {
          const bench = new Bench({ batchSize, priorityLevels: LEVELS });
          bench.queue.pause();
          await play(
            bench,
            priorities.map((priority) => ({ gap: 0, priority })),
          );
          bench.queue.resume();
          await bench.clock.advance(LONG);
          const order = bench.calls.flatMap(({ items }) => items);
          expect(order).toEqual([...order].sort((a, b) => a.priority - b.priority || a.id - b.id));
          expect(order.length).toBe(priorities.length);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('no item waits longer for its batch than the flush interval, when slots are free', async () => {
    await fc.assert(
      fc.asyncProperty(arrivals, fc.integer({ min: 1, max: 300 }), async (coming, flushInterval) => {
        const bench = new Bench({ batchSize: 10, flushInterval, priorityLevels: LEVELS });
        const came = new Map<number, number>();
        const coming2 = coming.map((arrival) => arrival);
        for (const [id, { gap, priority }] of coming2.entries()) {
          await bench.clock.advance(gap);
          came.set(id, bench.clock.now());
          await bench.queue.enqueue({ id, priority }, priority);
        }
        await bench.clock.advance(LONG);
        for (const { at, items } of bench.calls) for (const { id } of items) expect(at - came.get(id)!).toBeLessThanOrEqual(flushInterval);
      }),
      { numRuns: 60 },
    );
  });

  it('retries within the bounds of the backoff, as often as allowed, and gives up the rest', async () => {
    const retry = fc.record({
      maxRetries: fc.nat({ max: 4 }),
      initialDelay: fc.integer({ min: 1, max: 500 }),
      multiplier: fc.integer({ min: 1, max: 4 }),
      maxDelay: fc.integer({ min: 1, max: 3000 }),
      jitter: fc.constantFrom(0, 0.2, 1),
    });
    await fc.assert(
      fc.asyncProperty(retry, fc.array(fc.nat({ max: 6 }), { minLength: 1, maxLength: 30 }), async (given, failures) => {
        const { maxRetries, ...backoff } = given;
        const outcome = ({ id }: Item, attempt: number) =>
          attempt <= failures[id]! ? { success: false as const, error: new Error('no') } : { success: true as const, value: id };
        const bench = new Bench({ batchSize: 4, flushInterval: 0, retryStrategy: { maxRetries, backoff } }, outcome);
        await play(
          bench,
          failures.map(() => ({ gap: 0, priority: 1 })),
        );
        await bench.clock.advance(LONG);
        const good = failures.flatMap((count, id) => (count <= maxRetries ? [id] : []));
        expect(sorted(bench.succeeded)).toEqual(good);
        expect(sorted([...bench.succeeded, ...bench.dead])).toEqual(failures.map((_, id) => id));
        for (const [id, count] of failures.entries()) {
          const runs = bench.calls.filter(({ items }) => items.some((item) => item.id === id));
          expect(runs.length).toBe(Math.min(count, maxRetries) + 1);
          runs.slice(1).forEach(({ at }, index) => {
            const plain = Math.min(backoff.initialDelay * backoff.multiplier ** index, backoff.maxDelay);
            expect(at - runs[index]!.at).toBeGreaterThanOrEqual(plain * (1 - backoff.jitter) - 1e-6);
            expect(at - runs[index]!.at).toBeLessThanOrEqual(Math.min(plain * (1 + backoff.jitter) + 1, backoff.maxDelay) + 1e-6);
          });
        }
      }),
      { numRuns: 100 },
    );
  });

  it('holds at every limit: what was accepted is processed, told as dropped, or still waits', async () => {
    const limits = fc.record({
      maxQueueSize: fc.integer({ min: 1, max: 12 }),
      dropBehavior: fc.constantFrom('reject-new', 'drop-oldest', 'wait'),
    });
    await fc.assert(
      fc.asyncProperty(limits, arrivals, async (given, coming) => {
        const bench = new Bench({ ...given, batchSize: 5, flushInterval: 30, priorityLevels: LEVELS } as never, undefined, () => 25);
        const refused: number[] = [];
        const accepted: number[] = [];
        for (const [id, { gap, priority }] of coming.entries()) {
          await bench.clock.advance(gap);
          bench.queue.enqueue({ id, priority }, priority).then(
            () => accepted.push(id),
            (error) => {
              expect(error).toBeInstanceOf(QueueFullError);
              refused.push(id);
            },
          );
          expect(bench.queue.size).toBeLessThanOrEqual(given.maxQueueSize);
        }
        await bench.clock.advance(LONG);
        expect(sorted([...bench.succeeded, ...bench.dropped])).toEqual(sorted(accepted));
        expect(sorted([...accepted, ...refused])).toEqual(coming.map((_, id) => id));
        if (given.dropBehavior !== 'reject-new') expect(refused).toEqual([]);
        if (given.dropBehavior !== 'drop-oldest') expect(bench.dropped).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });

  it('processes a source in full whatever fails, with a cursor that never runs ahead', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 300 }), fc.nat({ max: 40 }), fc.integer({ min: 1, max: 30 }), async (length, start, batchSize) => {
        const outcome = ({ id }: Item, attempt: number) =>
          id % 7 === 0 && attempt < 3 ? { success: false as const } : { success: true as const, value: id };
        const bench = new Bench({ batchSize, concurrency: 3, retryStrategy: { maxRetries: 1 } }, outcome, (call) => (call * 13) % 50);
        const source = Array.from({ length }, (_, id) => ({ id, priority: 1 }));
        const settled = () => new Set([...bench.succeeded, ...bench.dead]);
        let last = start;
        const whole = bench.queue.processAll(source, {
          cursor: start,
          onProgress: ({ cursor }) => {
            expect(cursor).toBeGreaterThan(last);
            last = cursor;
            // The item that moves it is told of a moment later.
            const open = source.slice(start, cursor).filter(({ id }) => !settled().has(id));
            expect(open.length).toBeLessThanOrEqual(1);
          },
        });
        await bench.clock.advance(LONG);
        const expected = source.slice(start).map(({ id }) => id);
        expect(sorted([...settled()])).toEqual(expected);
        const failed = expected.filter((id) => id % 7 === 0).length;
        expect(await whole).toEqual({ cursor: Math.max(start, length), succeeded: expected.length - failed, failed });
      }),
      { numRuns: 60 },
    );
  });
});

describe('a batching strategy', () => {
  it('may leave out and reorder: batches stay within the size, what is left out stays queued', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: 5 }), { maxLength: 40 }), fc.integer({ min: 1, max: 6 }), async (groups, batchSize) => {
        // Even groups together; the odd ones are left out for ever.
        const batchingStrategy = (items: readonly Item[]) =>
          [4, 2, 0].map((group) => items.filter(({ priority }) => priority === group)).filter((batch) => batch.length > 0);
        const bench = new Bench({ batchSize, batchingStrategy, priorityLevels: 6 });
        await play(
          bench,
          groups.map((priority) => ({ gap: 0, priority })),
        );
        await bench.clock.advance(20_000);
        for (const { items } of bench.calls) {
          expect(items.length).toBeLessThanOrEqual(batchSize);
          expect(new Set(items.map(({ priority }) => priority)).size).toBe(1);
        }
        const even = groups.flatMap((group, id) => (group % 2 === 0 ? [id] : []));
        expect(sorted(bench.succeeded)).toEqual(even);
        expect(bench.queue.size).toBe(groups.length - even.length);
        expect(bench.errors).toEqual([]);
      }),
      { numRuns: 80 },
    );
  });

  it('is asked again by each flush, whatever it left out before', async () => {
    let isDayOver = false;
    const bench = new Bench({ batchSize: 5, batchingStrategy: (items) => (isDayOver ? [items] : []) });
    await bench.queue.enqueue({ id: 1, priority: 1 });
    await bench.queue.flush();
    expect(bench.queue.size).toBe(1);
    isDayOver = true;
    await bench.queue.flush();
    expect(bench.succeeded).toEqual([1]);
  });

  it.each([
    ['invents an item', (items: readonly Item[]) => [[...items, { id: 99, priority: 0 }]]],
    ['gives one twice', (items: readonly Item[]) => [[items[0]!], [items[0]!]]],
    ['returns something else', () => 'x' as never],
    [
      'throws',
      () => {
        throw new Error('strategy');
      },
    ],
  ])('that %s changes nothing and is reported', async (_, batchingStrategy) => {
    const bench = new Bench({ batchSize: 2, batchingStrategy });
    await play(bench, [
      { gap: 0, priority: 0 },
      { gap: 0, priority: 0 },
      { gap: 0, priority: 0 },
    ]);
    await bench.clock.advance(5000);
    expect(bench.calls).toEqual([]);
    expect(bench.queue.size).toBe(3);
    expect(bench.errors.length).toBeGreaterThan(0);
    expect(bench.errors.length).toBeLessThan(20);
    if (!(bench.errors[0]!.message === 'strategy')) expect(bench.errors[0]).toMatchObject({ name: 'BatchingError', code: 'invalid-plan' });
    const drained = bench.queue.drain(1000).catch((error: unknown) => error);
    await bench.clock.advance(2000);
    const error = (await drained) as DrainTimeoutError<Item>;
    expect(error).toBeInstanceOf(DrainTimeoutError);
    expect(error.details.left.map(({ id }) => id)).toEqual([0, 1, 2]);
  });

  it('tells equal items apart by number', async () => {
    const bench = new Bench({});
    const { BatchedQueue } = await import('@jetlane/batching');
    const seen: string[][] = [];
    const queue = new BatchedQueue<string>({
      name: 'words',
      clock: bench.clock,
      batchSize: 10,
      batchingStrategy: (items) => [items.filter((word) => word === 'a')],
      processor: (items) => {
        seen.push([...items]);
        return items.map(() => ({ success: true }));
      },
    });
    for (const word of ['a', 'b', 'a']) await queue.enqueue(word);
    await bench.clock.advance(3000);
    expect(seen).toEqual([['a', 'a']]);
    expect(queue.size).toBe(1);
  });
});
