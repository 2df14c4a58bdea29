import { FatalError } from '@jetlane/protocol';
import type { BatchContext, BatchItem, ItemOutcome, Worker } from '@jetlane/worker';
import { RetryLater } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Child } from '../support/child.js';
import { eventually } from './services-fixture.js';
import { deferred, QUICK_RETRY, SHORT_LEASE, WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
beforeAll(async () => {
  site = await WorkerSite.open('batches');
  await site.schedule();
});
afterAll(() => site.close());

type Items = readonly BatchItem<unknown>[];
const success = (items: Items): ItemOutcome[] => items.map(({ context }) => ({ success: true, result: context.key }));
const send = (queue: string, count: number) => Promise.all(Array.from({ length: count }, (_, i) => site.task(queue, `k${i}`, 't', i)));
const all = <T>(count: number, look: (key: string) => Promise<T>) => Promise.all(Array.from({ length: count }, (_, i) => look(`k${i}`)));

describe('a batch that fails as a whole', () => {
  it.each([
    ['a throw', () => Promise.reject(new RangeError('down')), { name: 'RangeError', message: 'down' }],
    ['a FatalError, which is about no single task', () => Promise.reject(new FatalError('down')), { name: 'FatalError' }],
    ['nothing returned', () => undefined, { code: 'wrong-batch-result', message: expect.stringContaining('returned nothing for 3 items') }],
    ['too few outcomes', () => [{ success: true }], { code: 'wrong-batch-result', message: expect.stringContaining('1 outcomes for 3') }],
    ['something else', () => ({ success: true }), { code: 'wrong-batch-result', message: expect.stringContaining('a object for 3') }],
  ])('by %s is a failed attempt of every item', async (_, handle, error) => {
    const queue = site.queueName();
    let runs = 0;
    const handleBatch = (items: Items) => {
      runs++;
      return items.length === 3 ? (handle() as never) : success(items);
    };
    // Retries may come back one by one: the second attempt succeeds where the batch is smaller, and is the last one otherwise.
    await site.worker({
      queue,
      handlers: { t: { handleBatch, size: 3, maxWait: '10s', retry: { attempts: 1 } } },
    });
    await send(queue, 3);
    for (const letter of await all(3, (key) => site.buried(queue, key)))
      expect(letter).toMatchObject({ reason: 'attempts-exhausted', hop: 1, error, history: [{ attempt: 1 }] });
    expect(runs).toBe(1);
  });

  it('is run again by the policy, and RetryLater puts off all', async () => {
    const queue = site.queueName();
    const seen: string[] = [];
    const handleBatch = (items: Items) => {
      for (const { context } of items) seen.push(`${context.key} ${context.hop}/${context.attempt}`);
      const { hop } = items[0]!.context;
      if (hop === 1) throw new Error('first');
      if (hop === 2) throw new RetryLater(1, { countsAsAttempt: false });
      return success(items);
    };
    await site.worker({ queue, handlers: { t: { handleBatch, size: 2, maxWait: '1s' } }, definition: { retry: QUICK_RETRY } });
    await send(queue, 2);
    await all(2, (key) => site.reaches(queue, key, 'completed'));
    expect(new Set(seen)).toEqual(new Set(['k0 1/1', 'k1 1/1', 'k0 2/2', 'k1 2/2', 'k0 3/2', 'k1 3/2']));
  });

  it('at its timeout: every signal fires, and a handler that ignores them is left behind', async () => {
    const queue = site.queueName();
    const reasons: string[] = [];
    const contexts: BatchContext[] = [];
    const handleBatch = (items: Items, context: BatchContext) => {
      contexts.push(context);
      const note = (who: string, signal: AbortSignal) =>
        signal.addEventListener('abort', () => reasons.push(`${who} ${(signal.reason as { code: string }).code}`));
      for (const { context: item } of items) note(item.key, item.signal);
      note('batch', context.signal);
      return new Promise<never>(() => undefined);
    };
    const worker = await site.worker({
      queue,
      handlers: { t: { handleBatch, size: 2, timeout: 100, retry: { attempts: 1 } } },
    });
    const began = Date.now();
    await send(queue, 2);
    for (const letter of await all(2, (key) => site.buried(queue, key))) expect(letter.error.code).toBe('timeout');
    expect(reasons.sort()).toEqual(['batch timeout', 'k0 timeout', 'k1 timeout']);
    expect(contexts[0]!.deadline).toBeGreaterThan(began);
    expect(worker.health()).toMatchObject({ busy: 0, settling: 0 });
  });

  it('an item with a shorter timeout of its own leaves alone', async () => {
    const queue = site.queueName();
    const gate = deferred();
    const batchSignals: AbortSignal[] = [];
    const handleBatch = async (items: Items, { signal }: BatchContext) => {
      batchSignals.push(signal);
      await gate.promise;
      return success(items);
    };
    await site.worker({ queue, handlers: { t: { handleBatch, size: 2, maxWait: '10s', retry: { attempts: 1 } } } });
    await site.task(queue, 'k0', 't');
    await site.send(queue, 'k1', '', [
      ['Task-Type', 't'],
      ['Task-Timeout', '50'],
    ]);
    expect((await site.buried(queue, 'k1')).error.code).toBe('timeout');
    expect(batchSignals.map(({ aborted }) => aborted)).toEqual([false]);
    gate.resolve();
    await site.reaches(queue, 'k0', 'completed');
    expect((await site.record(queue, 'k1'))!.state).toBe('dead');
  });
});

describe('a worker that stops', () => {
  const waiting = (worker: Worker, count: number) => eventually(`${count} wait`, () => worker.health().busy === count);

  it('hands back at once what waits for a batch, though the lease is 30 s; what runs may finish', async () => {
    const queue = site.queueName();
    const gate = deferred();
    const firstRuns: string[] = [];
    const handleBatch = async (items: Items) => {
      firstRuns.push(...items.map(({ context }) => context.key));
      await gate.promise;
      return success(items);
    };
    const handler = { size: 2, maxWait: '1h' };
    const first = await site.worker({ queue, name: 'first', concurrency: 5, handlers: { t: { ...handler, handleBatch } } });
    await send(queue, 3);
    await waiting(first, 3);
    await eventually('two run', () => firstRuns.length === 2);
    const heir = await site.worker({ queue, name: 'heir', handlers: { t: { handleBatch: success, size: 1 } } });
    const began = performance.now();
    const stopping = first.stop();
    const [left] = ['k0', 'k1', 'k2'].filter((key) => !firstRuns.includes(key));
    expect(await site.reaches(queue, left!, 'completed')).toMatchObject({ worker: heir.name, attempt: 1 });
    expect(performance.now() - began).toBeLessThan(9000);
    gate.resolve();
    await stopping;
    for (const key of firstRuns) expect(await site.record(queue, key)).toMatchObject({ state: 'completed', worker: 'first' });
    expect(first.health()).toMatchObject({ state: 'idle', busy: 0, settling: 0 });
  });

  it('aborts a batch at the deadline: each item is handed back, and no attempt is counted', async () => {
    const queue = site.queueName();
    const handleBatch = (_: Items, { signal }: BatchContext) =>
      new Promise<never>((_done, fail) => signal.addEventListener('abort', () => fail(signal.reason as Error)));
    const first = await site.worker({ queue, concurrency: 3, handlers: { t: { handleBatch, size: 3 } } });
    await send(queue, 3);
    await waiting(first, 3);
    await first.stop({ timeout: 100 });
    await site.worker({ queue, name: 'heir', handlers: { t: { handleBatch: success, size: 3 } } });
    for (const record of await all(3, (key) => site.reaches(queue, key, 'completed')))
      expect(record).toMatchObject({ worker: 'heir', attempt: 1, hop: 1 });
  });
});

describe('a lease', () => {
  it('is kept for what waits and what runs: nothing is delivered twice', async () => {
    const queue = site.queueName();
    const deliveries: number[] = [];
    const handleBatch = async (items: Items) => {
      for (const { context } of items) deliveries.push(context.delivery);
      await new Promise((resolve) => setTimeout(resolve, 2500));
      return success(items);
    };
    await site.worker({ queue, handlers: { t: { handleBatch, size: 10, maxWait: '2s' } }, definition: { lease: SHORT_LEASE } });
    await send(queue, 4);
    await site.drained(queue);
    expect(deliveries).toEqual([1, 1, 1, 1]);
  });
});

describe('a worker that is killed', () => {
  it.each([
    ['with a batch in hand', { size: 20, maxWait: 50, runs: true }],
    ['while tasks wait for their batch', { size: 50, maxWait: 3_600_000, runs: false }],
  ])('%s loses none: every item is run again', async (_, { size, maxWait, runs }) => {
    const queue = site.queueName();
    const definition = { name: queue, lease: SHORT_LEASE };
    await site.define(definition);
    const child = await Child.start('test/chaos/batch-process.ts', {
      url: site.installation.server.url,
      namespace: 'batches',
      definition,
      size,
      maxWait,
    });
    try {
      await child.said('started');
      await send(queue, 20);
      if (runs) await eventually('all run', () => child.of('ran').length === 20);
      else await child.said('holds', 1);
    } finally {
      await child.end();
    }
    expect(child.of('ran')).toHaveLength(runs ? 20 : 0);
    const again: string[] = [];
    const handleBatch = (items: Items) => {
      // Each of them may be what killed the worker: alone it cannot take the others along.
      expect(items).toHaveLength(1);
      again.push(...items.map(({ context }) => context.key));
      return success(items);
    };
    await site.worker({ queue, name: 'heir', concurrency: 50, handlers: { t: { handleBatch, size: 20 } } });
    for (const record of await all(20, (key) => site.reaches(queue, key, 'completed')))
      expect(record).toMatchObject({ worker: 'heir', attempt: 1, hop: 1 });
    expect(again.sort()).toEqual(Array.from({ length: 20 }, (__, i) => `k${i}`).sort());
  });
});
