import { waitUntil } from '@jetlane/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { backlog, Effects, redefine, worker } from './limits-fixture.js';
import { WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
beforeAll(async () => {
  site = await WorkerSite.open('limits-rate');
});
afterAll(() => site.close());

const pass = (ms: number) => waitUntil(() => false, { timeoutMs: ms });

/** Entries that workers wrote for their shares so far. */
async function entries(): Promise<number> {
  const { streams } = await site.connection.admin();
  return (await streams.info(`KV_${site.connection.names.bucket('limits')}`)).state.last_seq;
}

describe('a queue set to 30/s', () => {
  it('with four workers of uneven demand starts 300 tasks in 10 s, give or take 5 %', async () => {
    const queue = site.queueName();
    await redefine(site, { name: queue, limits: { rate: { count: 30 } } });
    await site.define({ name: queue });
    await backlog(site, queue, 1000);
    const effects = new Effects();
    // 2/s, 5/s, 40/s and much more, if they were let.
    const workers = [
      await worker(site, effects, 'a', 500, { queue, concurrency: 1 }),
      await worker(site, effects, 'b', 200, { queue, concurrency: 1 }),
      await worker(site, effects, 'c', 100, { queue, concurrency: 4 }),
      await worker(site, effects, 'd', 1, { queue, concurrency: 10 }),
    ];
    await pass(4000);
    const writes = await entries();
    // The rate holds over any window; one that the machine stood still in says nothing, so the next one may do.
    const from = performance.now();
    const counted = () => [0, 1000, 2000, 3000, 4000].map((offset) => effects.started(from + offset, from + offset + 10_000));
    const good = ({ length }: unknown[]) => length >= 285 && length <= 315;
    const windowOver = (i: number) => performance.now() > from + i * 1000 + 10_000;
    await waitUntil(() => counted().some((window, i) => windowOver(i) && good(window)), { timeoutMs: 14_500, everyMs: 50 });
    const seconds = (performance.now() - from) / 1000;
    const window = counted().find((runs, i) => windowOver(i) && good(runs)) ?? counted()[0]!;
    const by = (name: string) => window.filter((run) => run.worker === name).length;
    expect(window.length, JSON.stringify(counted().map(({ length }) => length))).toBeGreaterThanOrEqual(285);
    expect(window.length).toBeLessThanOrEqual(315);
    // Every worker tells how much of the rate is its own; together that is never more than all of it.
    const views = workers.map((one) => one.health().limits?.rate ?? { limit: 0, share: 0 });
    expect(views.map(({ limit }) => limit)).toEqual([30, 30, 30, 30]);
    expect(views.reduce((sum, { share }) => sum + share, 0)).toBeLessThanOrEqual(30.001);
    expect((await entries()) - writes).toBeLessThanOrEqual(4 * (seconds + 1));
    // Shares follow the demand: the slow ones run about what they can, the others share the rest.
    expect(by('a')).toBeGreaterThan(12);
    expect(by('b')).toBeGreaterThan(30);
    expect(by('c') + by('d')).toBeGreaterThan(180);
  });
});
