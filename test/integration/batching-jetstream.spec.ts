import { BatchedQueue, type BatchedQueueOptions, ItemFailedError } from '@jetlane/batching';
import { TaskClient } from '@jetlane/client';
import { laneInfo } from '@jetlane/jetstream';
import { LANES } from '@jetlane/protocol';
import { jetStreamStorage, laneOf, levelOf } from '@jetlane/worker/batching';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Child } from '../support/child.js';
import { eventually } from './services-fixture.js';
import { deferred, WorkerSite } from './worker-fixture.js';

const NAMESPACE = 'batching';
let site: WorkerSite;
const queues: BatchedQueue<Item, number>[] = [];
const clients: TaskClient[] = [];

interface Item {
  readonly id: number;
}

const double = (items: readonly Item[]) => items.map(({ id }) => ({ success: true as const, value: id * 2 }));

async function open(options: Partial<BatchedQueueOptions<Item, number>> & { name: string }, storage: object = {}) {
  const connection = await site.installation.link();
  const client = new TaskClient(connection);
  clients.push(client);
  const queue = new BatchedQueue<Item, number>({
    processor: double,
    flushInterval: 20,
    persistence: { storage: jetStreamStorage<Item, number>({ connection, client, ...storage }) },
    ...options,
  });
  queues.push(queue);
  await queue.loadState();
  return queue;
}

beforeAll(async () => {
  site = await WorkerSite.open(NAMESPACE);
  // Retries need somebody who moves what is due.
  await site.schedule();
});
afterAll(async () => {
  await Promise.all(queues.map((queue) => queue.close()));
  await Promise.all(clients.map((client) => client.close()));
  await site.close();
});

describe('jetStreamStorage', () => {
  it('takes the same code: items in batches, results by handle, wherever they were processed', async () => {
    const sizes: number[] = [];
    const name = site.queueName();
    await open({
      name,
      batchSize: 20,
      flushInterval: 200,
      processor: (items) => {
        sizes.push(items.length);
        return double(items);
      },
    });
    const producer = await open({ name }, { consume: false });
    const handles = await Promise.all(Array.from({ length: 60 }, (_, id) => producer.enqueue({ id })));
    expect(await Promise.all(handles.map(({ result }) => result))).toEqual(handles.map((_, id) => id * 2));
    expect(Math.max(...sizes)).toBeGreaterThan(1);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(20);
    await producer.drain();
  });

  it('maps priorities to lanes, and processes the higher ones first', async () => {
    const name = site.queueName();
    const order: number[] = [];
    const producer = await open({ name, priorityLevels: 4 }, { consume: false });
    for (const priority of [3, 2, 1, 0, 3, 2, 1, 0]) await producer.enqueue({ id: priority }, priority);
    for (const lane of LANES) expect((await laneInfo(site.connection, name, lane)).depth).toBe(2);
    const consumer = await open({
      name,
      priorityLevels: 4,
      batchSize: 8,
      // One full batch: draining at once would flush whatever lane came first.
      flushInterval: 20_000,
      processor: (items) => {
        order.push(...items.map(({ id }) => id));
        return double(items);
      },
    });
    await eventually('all are processed', () => order.length === 8);
    await consumer.drain();
    expect(order).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
  });

  it.each([1, 2, 3, 4, 9])('has a lane for each of %i levels, in order', (levels) => {
    const lanes = Array.from({ length: levels }, (_, priority) => LANES.indexOf(laneOf(priority, levels)));
    expect(lanes).toEqual([...lanes].sort());
    expect(new Set(lanes).size).toBe(Math.min(4, levels));
    for (let priority = 0; priority < levels; priority++) {
      const back = levelOf(laneOf(priority, levels), levels);
      expect(laneOf(back, levels)).toBe(laneOf(priority, levels));
      expect(back).toBeLessThanOrEqual(priority);
    }
    for (const lane of LANES) expect(levelOf(lane, levels)).toBeLessThan(levels);
  });

  it('retries by the engine, and makes dead letters of what fails for good', async () => {
    const name = site.queueName();
    const dead: number[] = [];
    const attempts: number[] = [];
    const queue = await open({
      name,
      retryStrategy: { maxRetries: 2, backoff: { initialDelay: 400 } },
      onDead: ({ item }) => dead.push(item.id),
      processor: (items, context) =>
        items.map(({ id }, index) => {
          if (id === 2) attempts.push(context.attempts[index]!);
          if (id === 0) return { success: true, value: 0 };
          if (id === 1) return { success: false, error: new Error('never'), retryable: false };
          return context.attempts[index]! < 1 ? { success: false, error: new Error('later') } : { success: true, value: id };
        }),
    });
    const handles = await Promise.all([0, 1, 2].map((id) => queue.enqueue({ id })));
    await queue.drain();
    // Draining waited for the retry too.
    expect(attempts).toEqual([0, 1]);
    expect(await handles[0]!.result).toBe(0);
    expect(await handles[2]!.result).toBe(2);
    const error = await handles[1]!.result.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ItemFailedError);
    expect((error as Error).message).toContain('never');
    expect(dead).toEqual([1]);
    const key = String(handles[1]!.id).split('.')[1]!;
    expect(await site.buried(name, key)).toMatchObject({ reason: 'fatal', error: { message: expect.stringContaining('never') } });
  });

  it('finishes what it holds when it closes, and leaves the rest to others', async () => {
    const name = site.queueName();
    const entered = deferred();
    const goOn = deferred();
    const seen: number[] = [];
    const first = await open({
      name,
      batchSize: 2,
      processor: async (items) => {
        entered.resolve();
        await goOn.promise;
        seen.push(...items.map(({ id }) => id));
        return double(items);
      },
    });
    await first.enqueueMany(Array.from({ length: 50 }, (_, id) => ({ id })));
    await entered.promise;
    const closed = first.close();
    await expect(first.enqueue({ id: 99 })).rejects.toMatchObject({ code: 'queue-closed' });
    goOn.resolve();
    await closed;
    expect(seen.length).toBeLessThan(50);
    const second = await open({
      name,
      processor: (items) => {
        seen.push(...items.map(({ id }) => id));
        return double(items);
      },
    });
    await second.drain();
    expect([...seen].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, id) => id));
  });

  it('two processes share a queue, and one is killed: nothing is lost', async () => {
    const name = site.queueName();
    const input = { url: site.installation.server.url, namespace: NAMESPACE, queue: name, lease: '1s' };
    const children = await Promise.all([0, 1].map(() => Child.start('test/integration/batching-jetstream-child.ts', input)));
    try {
      await Promise.all(children.map((child) => child.said('ready')));
      const total = 600;
      const producer = await open({ name }, { consume: false });
      await producer.enqueueMany(Array.from({ length: total }, (_, id) => ({ id })));
      await Promise.all(children.map((child) => child.said('processed', 5)));
      await children[0]!.end();
      const seen = () => new Set(children.flatMap((child) => child.of('processed').flatMap(({ ids }) => ids as number[])));
      await eventually('every item was processed', async () => seen().size === total, 25_000);
      expect(children[0]!.of('processed').length * 8).toBeLessThan(total);
      await producer.drain();
    } finally {
      await Promise.all(children.map((child) => child.end()));
    }
  });
});
