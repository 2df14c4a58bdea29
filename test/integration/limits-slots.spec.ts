import { JsonBucket } from '@jetlane/jetstream';
import { LANES } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { backlog, Effects, overlap, redefine, worker } from './limits-fixture.js';
import { eventually } from './services-fixture.js';
import { WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
beforeAll(async () => {
  site = await WorkerSite.open('limits-slots');
});
afterAll(() => site.close());

const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

describe('reserved slots', () => {
  /** How long high tasks wait for a slot while low ones come faster than they can run. */
  async function highPickup(reserved: { high?: number }) {
    const queue = site.queueName();
    await redefine(site, { name: queue, reserved });
    await site.define({ name: queue });
    await Promise.all(Array.from({ length: 150 }, (_, i) => site.task(queue, `low${i}`, 't', undefined, 'low')));
    const effects = new Effects();
    let lows = 0;
    let mostLow = 0;
    const run = effects.handler('a', 150);
    const handle = async (data: unknown, context: { key: string }) => {
      const low = context.key.startsWith('low');
      if (low) mostLow = Math.max(mostLow, ++lows);
      await run(data, context);
      if (low) lows--;
    };
    await site.worker({ queue, concurrency: 4, handlers: { t: handle } });
    await eventually('low tasks fill what they may', () => effects.runs.length > 4);
    const waits: number[] = [];
    for (let i = 0; i < 10; i++) {
      const sent = performance.now();
      await site.task(queue, `high${i}`, 't', undefined, 'high');
      await eventually(`high${i} runs`, () => effects.runs.some(({ key }) => key === `high${i}`));
      waits.push(effects.runs.find(({ key }) => key === `high${i}`)!.from - sent);
      await eventually(`high${i} has ended`, () => effects.runs.find(({ key }) => key === `high${i}`)!.to < performance.now());
    }
    return { wait: median(waits), mostLow };
  }

  it('keep a high task from waiting for low ones', async () => {
    const plain = await highPickup({});
    const kept = await highPickup({ high: 1 });
    expect(plain.mostLow).toBe(4);
    expect(kept.mostLow).toBe(3);
    expect(kept.wait).toBeLessThan(40);
    expect(kept.wait).toBeLessThan(plain.wait);
  });
});

describe('skewed handlers', () => {
  // Measured on a clock: a machine that is busy with other things gets another try.
  it('an idle worker takes over within 50 ms what a busy one holds and cannot begin', { retry: 3 }, async () => {
    const queue = site.queueName();
    await redefine(site, { name: queue });
    await site.define({ name: queue });
    const effects = new Effects();
    const taken: number[] = [];
    for (let round = 0; round < 3; round++) {
      const slow = await worker(site, effects, `slow${round}`, 1200, { queue, concurrency: 2 });
      await Promise.all(LANES.flatMap((lane) => [0, 1, 2].map((i) => site.task(queue, `${lane}-${round}-${i}`, 't', undefined, lane))));
      await eventually('the slow one holds more than it runs', () => slow.health().lanes.some(({ buffered }) => buffered > 0));
      const quick = await worker(site, effects, `quick${round}`, 1, { queue, concurrency: 2 });
      const began = performance.now();
      await eventually('all have begun', () => effects.runs.length === 12 * (round + 1));
      const last = Math.max(...effects.runs.map(({ from }) => from));
      taken.push(last - began);
      expect(effects.runs.filter((run) => run.worker === `slow${round}`).length).toBeLessThanOrEqual(3);
      await site.drained(queue);
      await Promise.all([slow.stop(), quick.stop()]);
    }
    expect(median(taken), String(taken)).toBeLessThan(50);
  });

  it('a worker of slow handlers that is alone keeps what it holds', async () => {
    const queue = site.queueName();
    const effects = new Effects();
    await worker(site, effects, 'slow', 300, { queue, concurrency: 2 });
    await Promise.all(LANES.flatMap((lane) => [0, 1].map((i) => site.task(queue, `${lane}${i}`, 't', undefined, lane))));
    await eventually('all have run', () => effects.runs.length === 8);
    await site.drained(queue);
    expect((await Promise.all(LANES.map((lane) => site.record(queue, `${lane}1`)))).map((record) => record?.crashes)).toEqual(
      LANES.map(() => undefined),
    );
  });
});

describe('a worker’s own limits', () => {
  it('hold for it alone, and may be changed while it runs', async () => {
    const queue = site.queueName();
    await redefine(site, { name: queue });
    await site.define({ name: queue });
    const effects = new Effects();
    const one = await worker(site, effects, 'a', 20, { queue, rate: { count: 20 } });
    await backlog(site, queue, 200);
    await eventually('it works', () => effects.runs.length > 0);
    const from = effects.runs[0]!.from;
    await eventually('two seconds are over', () => performance.now() > from + 2000);
    expect(effects.started(from, from + 2000).length).toBeGreaterThan(25);
    expect(effects.started(from, from + 2000).length).toBeLessThanOrEqual(40 + 5);
    const adjusted = performance.now();
    one.adjust({ concurrency: 3, rate: undefined });
    await eventually('all have run', () => effects.runs.length === 200, 8000);
    expect(overlap(effects.started(adjusted, Number.POSITIVE_INFINITY))).toBe(3);
    expect(one.health().slots).toBe(3);
    for (const wrong of [{ concurrency: 0 }, { rate: { count: -1 } }, { rate: { count: 1, per: 'soon' } }])
      expect(() => one.adjust(wrong)).toThrow(expect.objectContaining({ code: 'invalid-configuration' }));
  });

  it('a definition that does not fit changes nothing', async () => {
    const queue = site.queueName();
    await redefine(site, { name: queue, workers: 4 });
    await site.define({ name: queue });
    const events: string[] = [];
    const log = { info: () => undefined, warn: (_: object, event: string) => void events.push(event), error: () => undefined };
    const effects = new Effects();
    const one = await worker(site, effects, 'a', 1, { queue, log });
    const { connection } = site;
    const bucket = await JsonBucket.open<object>(connection, connection.names.bucket('queues'), 16);
    await bucket.put(queue, { name: queue, limits: { concurrency: 'many' } });
    await eventually('it is told', () => events.includes('definition:not-valid'));
    await redefine(site, { name: queue, workers: 7 });
    await eventually('the next one holds', () => one.health().slots === 7);
    await backlog(site, queue, 5);
    await eventually('it works on', () => effects.runs.length === 5);
  });
});
