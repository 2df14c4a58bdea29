import { waitUntil } from '@jetlane/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { backlog, Effects, overlap, redefine, worker } from './limits-fixture.js';
import { eventually } from './services-fixture.js';
import { WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
beforeAll(async () => {
  site = await WorkerSite.open('steer-limits');
});
afterAll(() => site.close());

/** Workers obey within this time, ms: what has begun by then goes on. */
const OBEYED_MS = 1000;
const pass = (ms: number) => waitUntil(() => false, { timeoutMs: ms });

describe('limits that are changed while two workers run', { retry: 2 }, () => {
  it('a lower concurrency, a rate, and none again hold within a second', async () => {
    const queue = site.queueName();
    await redefine(site, { name: queue });
    await site.define({ name: queue });
    await backlog(site, queue, 4000);
    const effects = new Effects();
    for (const name of ['a', 'b']) await worker(site, effects, name, 20, { queue, concurrency: 8 });
    await eventually('both are busy', () => effects.running === 16);

    await redefine(site, { name: queue, limits: { concurrency: 2 } });
    let from = performance.now() + OBEYED_MS;
    await pass(OBEYED_MS + 1500);
    expect(overlap(effects.started(from, performance.now()))).toBeLessThanOrEqual(2);

    await redefine(site, { name: queue, limits: { rate: { count: 10 } } });
    from = performance.now() + OBEYED_MS;
    await pass(OBEYED_MS + 2000);
    const limited = effects.started(from, from + 2000).length;
    expect(limited).toBeLessThanOrEqual(24);
    expect(limited).toBeGreaterThan(5);

    await redefine(site, { name: queue });
    await eventually('free again', () => effects.running === 16, OBEYED_MS * 10);
  });
});
