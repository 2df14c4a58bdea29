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
  perLane: number,
  look: (worker: Worker, lane: Lane) => void = () => undefined,
): Promise<Lane[]> {
  const queue = site.queueName();
  await site.define({ name: queue });
  await backlog(queue, perLane);
  const order: Lane[] = [];
  const handle = async (_: unknown, { lane }: TaskContext) => {
    order.push(lane);
    look(worker, lane);
    await new Promise((resolve) => setTimeout(resolve, 4));
  };
  const worker: Worker = new Worker(site.connection, { queue, concurrency: 50, mode, handlers: { t: handle } });
  await worker.start();
  await eventually('all have run', () => order.length === perLane * 4, 30_000);
  await worker.stop();
  return order;
}

const count = (order: readonly Lane[], lane: Lane) => order.filter((one) => one === lane).length;

describe('lanes', () => {
  it('strict: no task starts while one of a higher lane waits here; the backlog of the highest goes first', async () => {
    const inversions: string[] = [];
    const order = await orderOf('strict', 300, (worker, lane) => {
      const above = worker.health().lanes.slice(0, LANES.indexOf(lane));
      for (const { lane: higher, buffered } of above) if (buffered > 0) inversions.push(`${lane} before ${buffered} of ${higher}`);
    });
    expect(inversions).toEqual([]);
    expect(order.lastIndexOf('critical')).toBeLessThan(order.lastIndexOf('high'));
    expect(order.lastIndexOf('high')).toBeLessThan(order.lastIndexOf('normal'));
    expect(order.lastIndexOf('normal')).toBeLessThan(order.lastIndexOf('low'));
    // Each lower lane keeps a pull of 8 open, and what it brings runs in the gaps between two pulls of critical.
    const early = LANES.map((lane) => count(order.slice(0, 300), lane));
    expect(early[0]).toBe(Math.max(...early));
  });

  it('weighted: a busy lane gets more than the lane below it, and the lowest does not starve', async () => {
    const order = await orderOf('weighted', 300);
    const early = order.slice(0, 500);
    expect(count(early, 'critical')).toBeGreaterThan(count(early, 'high'));
    expect(count(early, 'high')).toBeGreaterThan(count(early, 'normal'));
    expect(count(early, 'low')).toBeGreaterThan(500 * 0.05);
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
