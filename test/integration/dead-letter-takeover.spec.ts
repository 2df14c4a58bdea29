import { describe, expect, it } from 'vitest';
import { LinkProxy } from '../support/link-proxy.js';
import { begin, ended, hops } from './job-fixture.js';
import { bury, keysOf, queue, site, startDeadLetters, useResiliency } from './resiliency-fixture.js';
import { eventually } from './services-fixture.js';

useResiliency('jobs');

describe('a job', () => {
  it.each(['before', 'after'] as const)('taken over from a copy that was killed just %s a delete: each task once', async (when) => {
    const proxy = await LinkProxy.open(site.server.url);
    const broken = proxy.cutAt({ when, subject: /MSG\.DELETE\.jobs_dead_letters/, nth: 17 });
    const link = await site.link(proxy.url);
    for (const key of keysOf(40)) await bury(key);
    const survivor = await startDeadLetters({ takeOverMs: 1000 });
    const job = await begin(await startDeadLetters({}, link), { filter: { queue_name: queue }, rate: 200 });
    await broken;
    await link.close();
    const done = await ended(survivor, job);
    expect(done).toMatchObject({ state: 'completed', failed: 0, left: { count: 0, exact: true } });
    expect((await site.takeAll(queue, 40)).sort()).toEqual(hops(keysOf(40)));
    await eventually('the queue is empty', async () => (await site.depth(queue)) === 0);
    expect((await survivor.list({ queue_name: queue, limit: 100 })).total.count).toBe(0);
    await proxy.close();
  });

  it('is left to another copy when its own stops', async () => {
    const [one, two] = [await startDeadLetters(), await startDeadLetters({ takeOverMs: 2000 })];
    for (const key of keysOf(30)) await bury(key);
    const job = await begin(one, { filter: { queue_name: queue }, rate: 20 });
    await one.stop();
    expect((await two.job(job)).state).toBe('running');
    expect(await ended(two, job)).toMatchObject({ state: 'completed', failed: 0 });
    expect((await site.takeAll(queue, 30)).sort()).toEqual(hops(keysOf(30)));
  });
});
