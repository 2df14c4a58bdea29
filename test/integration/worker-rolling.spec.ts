import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Child } from '../support/child.js';
import { eventually } from './services-fixture.js';
import { WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
const children: Child[] = [];
beforeAll(async () => {
  site = await WorkerSite.open('rolling');
});
afterAll(async () => {
  await Promise.all(children.map((child) => child.end()));
  await site.close();
});

/** A worker process of a queue that bears few deliveries, and whose lease is longer than the test. */
async function child(queue: string, name: string, stopTimeout: number): Promise<Child> {
  const started = await Child.start('test/chaos/worker-process.ts', {
    url: site.installation.server.url,
    namespace: 'rolling',
    definition: { name: queue, lease: '10m', maxDeliveries: 3 },
    concurrency: 10,
    name,
    stopTimeout,
  });
  children.push(started);
  await started.said('started');
  return started;
}

describe('worker processes', () => {
  it('restarted five times under load, one after the other: all is done, nothing waited for a lease, nothing is dead', async () => {
    const queue = site.queueName();
    const workers = await Promise.all(['a', 'b'].map((name) => child(queue, name, 100)));
    let count = 0;
    let going = true;
    const load = (async () => {
      while (going) {
        // Some take longer than a stop waits for them.
        const ms = count % 7 === 0 ? 400 : 20;
        await site.task(queue, `k${count++}`, 'sleep', { ms });
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
    for (let restart = 1; restart <= 5; restart++) {
      const old = workers.shift()!;
      await eventually('it works', () => old.of('completed').length > 5);
      const next = child(queue, `w${restart}`, 100);
      old.kill('SIGTERM');
      expect(await old.exited).toEqual({ code: 0, signal: null });
      expect(old.of('stopped')[0]!.ms).toBeLessThan(5000);
      workers.push(await next);
    }
    going = false;
    await load;
    await site.drained(queue, 20_000);
    expect(count).toBeGreaterThan(200);
    for (let i = 0; i < count; i++) {
      expect(await site.record(queue, `k${i}`), `k${i}`).toMatchObject({ state: 'completed', attempt: 1 });
      expect(await site.letter(queue, `k${i}`)).toBeUndefined();
    }
  });

  it('give back what runs at the second SIGTERM, at once', async () => {
    const queue = site.queueName();
    const first = await child(queue, 'first', 60_000);
    await site.task(queue, 'heeds', 'sleep', { ms: 30_000 });
    await site.task(queue, 'stubborn', 'stubborn', { ms: 30_000 });
    await first.said('ran', 2);
    const heir: string[] = [];
    const take = (_: unknown, { key }: { key: string }) => void heir.push(key);
    await site.worker({ queue, handlers: { sleep: take, stubborn: take } });
    first.kill('SIGTERM');
    await first.said('stopping');
    expect(first.of('stopped')).toEqual([]);
    const began = performance.now();
    first.kill('SIGTERM');
    expect(await first.exited).toMatchObject({ signal: null });
    await site.drained(queue, 5000);
    expect(performance.now() - began).toBeLessThan(5000);
    expect(heir).toEqual(expect.arrayContaining(['heeds', 'stubborn']));
    expect(await site.record(queue, 'heeds')).toMatchObject({ state: 'completed', attempt: 1 });
  });
});
