import { LANES, type Lane } from '@jetlane/protocol';
import { type TaskContext, Worker } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from './services-fixture.js';
import { deferred, WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
beforeAll(async () => {
  site = await WorkerSite.open('lanes');
});
afterAll(() => site.close());

/** A backlog in all lanes that stands before the worker starts. */
async function backlog(queue: string, perLane: number): Promise<void> {
  await Promise.all(
    LANES.flatMap((lane) => Array.from({ length: perLane }, (_, i) => site.task(queue, `${lane}-${i}`, 't', undefined, lane))),
  );
}

/** Running, buffered and asked for, as the worker's health tells. */
function held(worker: Worker): number {
  const { busy, lanes } = worker.health();
  return lanes.reduce((sum, { buffered, open }) => sum + buffered + open, busy);
}

/** Runs a backlog of all lanes, and tells the lanes in the order of the runs. */
async function orderOf(
  mode: 'strict' | 'weighted',
  concurrency: number,
  perLane: number,
): Promise<{ order: Lane[]; inversions: string[] }> {
  const queue = site.queueName();
  await site.define({ name: queue });
  await backlog(queue, perLane);
  const order: Lane[] = [];
  const inversions: string[] = [];
  const handle = async (_: unknown, { lane }: TaskContext) => {
    order.push(lane);
    const above = worker.health().lanes.slice(0, LANES.indexOf(lane));
    for (const { lane: higher, buffered } of above) if (buffered > 0) inversions.push(`${lane} before ${buffered} of ${higher}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  };
  const worker: Worker = new Worker(site.connection, { queue, concurrency, mode, handlers: { t: handle } });
  await worker.start();
  await eventually('all have run', () => order.length === perLane * 4, 30_000);
  await worker.stop();
  return { order, inversions };
}

const count = (order: readonly Lane[], lane: Lane) => order.filter((one) => one === lane).length;
const shares = (order: readonly Lane[]) => LANES.map((lane) => count(order, lane));

describe('lanes', () => {
  // A slot is kept for 20 ms for the lane that is next; on a busy machine a pull may take longer, once in a while.
  it('strict: with one slot a whole backlog of a higher lane goes first', { retry: 3 }, async () => {
    const { order, inversions } = await orderOf('strict', 1, 60);
    expect(inversions).toEqual([]);
    expect(order.filter((lane, i) => i > 0 && LANES.indexOf(lane) < LANES.indexOf(order[i - 1]!))).toEqual([]);
  });

  it('strict: with many slots too, but for what is taken before the backlog is known', { retry: 3 }, async () => {
    const { order, inversions } = await orderOf('strict', 40, 300);
    expect(inversions).toEqual([]);
    expect(count(order.slice(0, 300), 'critical')).toBeGreaterThan(220);
    expect(count(order.slice(0, 600), 'low')).toBeLessThan(20);
  });

  it.each([1, 8])('weighted: with %i slots a backlog goes 8:4:2:1', async (slots) => {
    const { order } = await orderOf('weighted', slots, 240);
    const early = shares(order.slice(0, 300));
    for (const [i, expected] of [160, 80, 40, 20].entries())
      expect(Math.abs(early[i]! - expected), `${LANES[i]}: ${early}`).toBeLessThanOrEqual(16);
  });

  it('weighted: with many slots a busy lane gets more than a lower one, and the lowest does not starve', async () => {
    const [critical = 0, high = 0, normal = 0, low = 0] = shares((await orderOf('weighted', 40, 300)).order.slice(0, 500));
    expect(critical).toBeGreaterThan(high);
    expect(high).toBeGreaterThan(low);
    expect(Math.min(normal, low)).toBeGreaterThan(25);
  });

  it('a lane that is paused, or worked off by others, keeps no slot from the lanes below it', async () => {
    const queue = site.queueName();
    await site.define({ name: queue });
    await Promise.all(Array.from({ length: 50 }, (_, i) => site.task(queue, `c${i}`, 't', undefined, 'critical')));
    const gate = deferred();
    const ran: string[] = [];
    const handle = async (_: unknown, { key }: TaskContext) => {
      ran.push(key);
      if (key.startsWith('c')) await gate.promise;
    };
    await site.worker({ queue, concurrency: 2, mode: 'strict', handlers: { t: handle } });
    await eventually('both slots are taken', () => ran.length === 2);
    const { stream, consumer } = site.connection.names.lane(queue, 'critical');
    await (await site.connection.admin()).consumers.pause(stream, consumer, new Date(Date.now() + 60_000));
    for (let i = 0; i < 10; i++) await site.task(queue, `l${i}`, 't', undefined, 'low');
    gate.resolve();
    await eventually('the low ones run', () => ran.filter((key) => key.startsWith('l')).length === 10, 2000);
    expect(ran.length).toBeLessThan(30);
  });

  it('never holds more than slots + 8 × 3, and never runs more than its slots', async () => {
    const queue = site.queueName();
    await site.define({ name: queue });
    await backlog(queue, 150);
    let running = 0;
    let most = 0;
    let mostHeld = 0;
    let done = 0;
    const worker = await site.worker({
      queue,
      concurrency: 5,
      handlers: {
        t: async () => {
          most = Math.max(most, ++running);
          await new Promise((resolve) => setTimeout(resolve, Math.random() * 8));
          running--;
          done++;
        },
      },
    });
    await eventually(
      'all have run',
      () => {
        mostHeld = Math.max(mostHeld, held(worker));
        return done === 600;
      },
      30_000,
    );
    expect(most).toBe(5);
    expect(mostHeld).toBeLessThanOrEqual(5 + 24);
    expect(mostHeld).toBeGreaterThan(5);
  });

  it('a task of an idle lane starts at once, though the slots were promised to others', async () => {
    const queue = site.queueName();
    const worker = await site.worker({ queue, concurrency: 2, handlers: { t: () => undefined } });
    const waits: number[] = [];
    for (let i = 0; i < 20; i++) {
      const began = performance.now();
      const ran = new Promise<void>((resolve) => {
        const stop = worker.on('task:started', () => {
          stop();
          resolve();
        });
      });
      await site.task(queue, `k${i}`, 't', undefined, LANES[i % 4]);
      await ran;
      waits.push(performance.now() - began);
    }
    expect(waits.sort((a, b) => a - b)[10]!).toBeLessThan(50);
  });
});

describe('two workers', () => {
  it('share a backlog', async () => {
    const queue = site.queueName();
    await site.define({ name: queue });
    await backlog(queue, 50);
    const by = { a: 0, b: 0 };
    const slow = (name: 'a' | 'b') => async () => {
      by[name]++;
      await new Promise((resolve) => setTimeout(resolve, 5));
    };
    await Promise.all((['a', 'b'] as const).map((name) => site.worker({ queue, concurrency: 4, handlers: { t: slow(name) } })));
    await site.drained(queue);
    expect(by.a + by.b).toBe(200);
    expect(Math.min(by.a, by.b)).toBeGreaterThan(40);
  });

  it('an idle one takes over what comes while the other is busy', async () => {
    const queue = site.queueName();
    const gate = deferred();
    const busy = await site.worker({ queue, concurrency: 2, handlers: { t: () => gate.promise } });
    await site.task(queue, 'a', 't');
    await site.task(queue, 'b', 't');
    await eventually('the first is busy', () => busy.health().busy === 2);
    const taken: string[] = [];
    await site.worker({ queue, concurrency: 2, handlers: { t: (_: unknown, { key }: TaskContext) => void taken.push(key) } });
    const keys = Array.from({ length: 20 }, (_, i) => `new${i}`);
    for (const key of keys) await site.task(queue, key, 't');
    await eventually('the idle one took them', () => taken.length === 20, 3000);
    expect(busy.health().busy).toBe(2);
    gate.resolve();
    await site.drained(queue);
  });
});
