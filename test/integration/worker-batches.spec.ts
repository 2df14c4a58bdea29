import { FatalError, type Heartbeat } from '@jetlane/protocol';
import { type BatchContext, type BatchHandlerOptions, type BatchItem, Cancelled, type ItemOutcome, RetryLater } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from './services-fixture.js';
import { deferred, QUICK_RETRY, WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
beforeAll(async () => {
  site = await WorkerSite.open('batches');
  await site.schedule();
});
afterAll(() => site.close());

type Items = readonly BatchItem<unknown>[];
const keys = (items: Items) => items.map(({ context }) => context.key);
const success = (items: Items): ItemOutcome[] => items.map(({ data }) => ({ success: true, result: data }));
const send = (queue: string, count: number, prefix = 'k') =>
  Promise.all(Array.from({ length: count }, (_, i) => site.task(queue, `${prefix}${i}`, 't', i)));

/** A worker whose handler of batches notes the keys of each. */
async function batcher(options: Omit<BatchHandlerOptions, 'handleBatch'> & Partial<BatchHandlerOptions>, concurrency = 100) {
  const queue = site.queueName();
  const batches: string[][] = [];
  const handleBatch = (items: Items, context: BatchContext) => {
    batches.push(keys(items));
    return options.handleBatch ? options.handleBatch(items as never, context) : success(items);
  };
  const handler = { ...options, handleBatch };
  const worker = await site.worker({ queue, concurrency, handlers: { t: handler }, definition: { retry: QUICK_RETRY } });
  return { queue, batches, worker };
}

describe('a batch', () => {
  it('begins at its size, and what is left over when its time has come; each item has its result', async () => {
    const { queue, batches, worker } = await batcher({ size: 10, maxWait: '1s' });
    const events: string[] = [];
    worker.on('task:started', ({ id }) => events.push(`started ${id}`));
    worker.on('task:completed', ({ id, result }) => events.push(`completed ${id} ${result}`));
    const began = performance.now();
    await send(queue, 25);
    await site.drained(queue);
    expect(performance.now() - began).toBeGreaterThan(900);
    expect(batches.map((batch) => batch.length)).toEqual([10, 10, 5]);
    expect(new Set(batches.flat()).size).toBe(25);
    for (let i = 0; i < 25; i++)
      expect(await site.record(queue, `k${i}`)).toMatchObject({ state: 'completed', result: i, attempt: 1, worker: worker.name });
    expect(events.filter((event) => event.startsWith('started'))).toHaveLength(25);
    expect(events).toContain(`completed ${queue}.k7 7`);
    expect(worker.health()).toMatchObject({ busy: 0, settling: 0 });
  });

  it('below its least size waits on, and in the end runs with what there is', async () => {
    const { queue, batches } = await batcher({ size: 10, minSize: 3, maxWait: 200 });
    const began = performance.now();
    await send(queue, 2);
    await site.drained(queue);
    expect(performance.now() - began).toBeGreaterThan(1900);
    await send(queue, 3, 'm');
    await site.drained(queue);
    expect(batches.map((batch) => batch.length).slice(0, 2)).toEqual([2, 3]);
  });

  it('begins no sooner after another than the least gap', async () => {
    const began: number[] = [];
    const { queue, batches } = await batcher({
      size: 10,
      maxWait: 10,
      minGap: 400,
      handleBatch: (items: Items) => {
        began.push(performance.now());
        return success(items);
      },
    });
    await send(queue, 1, 'first');
    await eventually('the first batch ran', () => batches.length === 1);
    await send(queue, 14, 'more');
    await site.drained(queue);
    expect(batches[0]).toEqual(['first0']);
    expect(batches.flat()).toHaveLength(15);
    expect(began.length).toBeGreaterThan(2);
    for (const [i, at] of began.slice(1).entries()) expect(at - began[i]!).toBeGreaterThan(398);
  });

  it('may get another gap while the worker runs', async () => {
    const { queue, batches, worker } = await batcher({ size: 1, minGap: '1h' });
    await send(queue, 3);
    await eventually('the first batch ran', () => batches.length === 1);
    expect(() => worker.setMinGap('nobody', '1s')).toThrow(/no batch handler for "nobody"/);
    expect(() => worker.setMinGap('t', '2h')).toThrow(/minGap of handler "t"/);
    worker.setMinGap('t', 1);
    await site.drained(queue);
    expect(batches).toHaveLength(3);
  });

  it('is not joined by a task whose payload is refused; that one is dead, its neighbours go on', async () => {
    const { queue, batches } = await batcher({
      size: 3,
      maxWait: '30s',
      accept: async (data: number) => {
        if (data === 1) throw new FatalError('not one', { code: 'payload-mismatch' });
        return data * 10;
      },
    });
    await send(queue, 4);
    await site.drained(queue);
    expect(batches.map((batch) => batch.length)).toEqual([3]);
    expect(await site.record(queue, 'k1')).toMatchObject({ state: 'dead', attempt: 1, error: { code: 'payload-mismatch' } });
    expect(await site.record(queue, 'k2')).toMatchObject({ state: 'completed', result: 20 });
  });

  it('has one group: the task’s own, or what a function says', async () => {
    const own = await batcher({ size: 10, groupBy: 'group' });
    const byData = await batcher({ size: 10, groupBy: (data: number) => (data % 2 ? 'odd' : undefined) });
    const groups: (string | undefined)[] = [];
    const named = await batcher({
      size: 10,
      groupBy: 'group',
      handleBatch: (items: Items, context: BatchContext) => {
        groups.push(context.group);
        expect(context).toMatchObject({ queue: named.queue, type: 't' });
        return success(items);
      },
    });
    for (const { queue } of [own, named]) {
      for (const [key, group] of Object.entries({ a1: 'a', b1: 'b', a2: 'a', none: undefined, b2: 'b' }))
        await site.send(queue, key, '1', [['Task-Type', 't'], ...(group ? [['Task-Group', group] as const] : [])]);
    }
    await send(byData.queue, 6);
    for (const { queue } of [own, byData, named]) await site.drained(queue);
    expect(own.batches.map((batch) => batch.sort().join()).sort()).toEqual(['a1,a2', 'b1,b2', 'none']);
    expect(byData.batches.map((batch) => batch.sort().join()).sort()).toEqual(['k0,k2,k4', 'k1,k3,k5']);
    expect(groups.sort()).toEqual(['a', 'b', undefined]);
  });

  it('does not wait for tasks that cannot come: every slot is taken by a task that waits', async () => {
    const { queue, batches } = await batcher({ size: 4, maxWait: '1h', groupBy: (data: number) => String(data % 3) }, 4);
    await send(queue, 9);
    // The last three leave a slot free: they wait for more.
    await eventually('all but three ran', () => new Set(batches.flat()).size >= 6);
    expect(Math.max(...batches.map((batch) => batch.length))).toBeLessThanOrEqual(4);
  });

  it('lets tasks of other types pass meanwhile, and is not shown as running', async () => {
    const queue = site.queueName();
    const beats: Heartbeat[] = [];
    const gate = deferred();
    const handleBatch = async (items: Items) => {
      await gate.promise;
      return success(items);
    };
    const worker = await site.worker({
      queue,
      concurrency: 4,
      handlers: { t: { handleBatch, size: 3, maxWait: '1h' }, single: () => 'single' },
    });
    site.connection.subscribe(site.connection.names.heartbeat(queue, worker.name), ({ data }) =>
      beats.push(JSON.parse(Buffer.from(data).toString()) as Heartbeat),
    );
    await send(queue, 2);
    await eventually('two wait', () => worker.health().busy === 2);
    await site.task(queue, 'other', 'single');
    await site.reaches(queue, 'other', 'completed');
    await eventually('heartbeats come', () => beats.filter(({ busy }) => busy === 2).length > 1);
    expect(beats.at(-1)!.running).toEqual([]);
    await site.task(queue, 'k2', 't', 2);
    await eventually('all three run', () => beats.at(-1)!.running.length === 3);
    gate.resolve();
    await site.drained(queue);
  });
});

describe('an item', () => {
  it('succeeds, fails, is retried, put off or given up by itself; its neighbours do not feel it', async () => {
    const seen: Record<string, number> = {};
    const fates: Record<string, ItemOutcome> = {
      good: { success: true, result: { n: 1 } },
      nothing: { success: true },
      error: { success: false, error: new RangeError('try again') },
      final: { success: false, error: 'no such user', retryable: false },
      fatal: { success: false, error: new FatalError('never') },
      unwanted: { success: false, error: new Cancelled('bought elsewhere') },
      later: { success: false, error: new Error('busy'), delay: '1h' },
      free: { success: false, error: new RetryLater('1h', { countsAsAttempt: false }) },
      big: { success: true, result: 'x'.repeat(300_000) },
      odd: 'done' as unknown as ItemOutcome,
      missing: undefined as unknown as ItemOutcome,
      hostile: Object.defineProperty({}, 'success', {
        get: () => {
          throw new Error('no');
        },
      }) as ItemOutcome,
    };
    const names = Object.keys(fates);
    const { queue, batches } = await batcher({
      size: names.length,
      handleBatch: (items: Items) => {
        for (const key of keys(items)) seen[key] = (seen[key] ?? 0) + 1;
        return keys(items).map((key) => fates[key]!);
      },
    });
    await Promise.all(names.map((key) => site.task(queue, key, 't')));
    expect(await site.reaches(queue, 'good', 'completed')).toMatchObject({ result: { n: 1 } });
    expect(await site.reaches(queue, 'nothing', 'completed')).not.toHaveProperty('result');
    expect(await site.reaches(queue, 'unwanted', 'cancelled')).toMatchObject({ reason: 'bought elsewhere' });
    expect(await site.buried(queue, 'final')).toMatchObject({ reason: 'fatal', hop: 1, error: { name: 'Error', message: 'no such user' } });
    expect(await site.buried(queue, 'fatal')).toMatchObject({ reason: 'fatal', hop: 1, error: { name: 'FatalError' } });
    expect(await site.buried(queue, 'big')).toMatchObject({ reason: 'result-too-large', hop: 1 });
    const error = await site.buried(queue, 'error');
    expect(error).toMatchObject({ reason: 'attempts-exhausted', hop: 3, error: { name: 'RangeError', message: 'try again' } });
    expect(error.history.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    expect(error.history.at(-1)!.stack).toContain('RangeError');
    for (const key of ['odd', 'missing', 'hostile'])
      expect(await site.buried(queue, key)).toMatchObject({ reason: 'attempts-exhausted', error: { code: 'wrong-batch-result' } });
    for (const [key, attempt] of [
      ['later', 2],
      ['free', 1],
    ] as const) {
      const timer = (await site.installation.store.traces(queue, key)).copies.find(({ place }) => place === 'timer')!;
      expect(Object.fromEntries(timer.stored.headers)).toMatchObject({ 'Task-Hop': '2', 'Task-Attempt': String(attempt) });
      expect(Date.parse(Object.fromEntries(timer.stored.headers)['Nats-Schedule']!.slice(4)) - Date.now()).toBeGreaterThan(3_500_000);
    }
    expect(seen).toMatchObject({ good: 1, nothing: 1, error: 3, final: 1, fatal: 1, unwanted: 1, later: 1, odd: 3 });
    expect(batches[0]).toHaveLength(names.length);
  });

  it('that cannot be read, has expired, or whose group cannot be told, never joins', async () => {
    const { queue, batches } = await batcher({
      size: 2,
      maxWait: 300,
      groupBy: (data: { group: string }) => data.group.toLowerCase(),
    });
    await site.send(queue, 'unreadable', '{"a":', [['Task-Type', 't']]);
    await site.send(queue, 'expired', '{"group":"A"}', [
      ['Task-Type', 't'],
      ['Task-Deadline', String(Date.now() - 1)],
    ]);
    await site.task(queue, 'no-group', 't', {});
    await site.task(queue, 'good', 't', { group: 'A' });
    expect(await site.buried(queue, 'unreadable')).toMatchObject({ reason: 'undecodable-payload', hop: 1 });
    expect(await site.buried(queue, 'no-group')).toMatchObject({ reason: 'attempts-exhausted', hop: 3, error: { name: 'TypeError' } });
    expect(await site.reaches(queue, 'expired', 'cancelled')).toMatchObject({ reason: 'expired' });
    await site.reaches(queue, 'good', 'completed');
    expect(batches).toEqual([['good']]);
  });

  it('whose deadline passes while it waits is taken out before the start', async () => {
    const { queue, batches } = await batcher({ size: 10, maxWait: '2s' });
    await site.task(queue, 'patient', 't', 1);
    await site.send(queue, 'hasty', '1', [
      ['Task-Type', 't'],
      ['Task-Deadline', String(Date.now() + 1000)],
    ]);
    await site.drained(queue);
    expect(await site.record(queue, 'hasty')).toMatchObject({ state: 'cancelled', reason: 'expired' });
    expect(batches).toEqual([['patient']]);
  });

  it('has a context of its own: progress, log, signal and fencing token', async () => {
    const { queue } = await batcher({
      size: 3,
      handleBatch: (items: Items) =>
        items.map(({ context }) => {
          context.log(`line of ${context.key}`);
          context.progress({ key: context.key });
          return { success: true, result: [context.fencingToken, context.attempt, context.signal.aborted] };
        }),
    });
    await send(queue, 3);
    for (let i = 0; i < 3; i++)
      expect(await site.reaches(queue, `k${i}`, 'completed')).toMatchObject({
        result: [1001, 1, false],
        progress: { key: `k${i}` },
        log: [{ text: `line of k${i}` }],
      });
  });
});
