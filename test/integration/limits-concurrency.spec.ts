import { waitUntil } from '@jetlane/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Child } from '../support/child.js';
import { backlog, Effects, overlap, redefine, worker } from './limits-fixture.js';
import { eventually } from './services-fixture.js';
import { WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
const children: Child[] = [];
beforeAll(async () => {
  site = await WorkerSite.open('limits-conc');
});
afterAll(async () => {
  await Promise.all(children.map((child) => child.end()));
  await site.close();
});

const RUN_MS = 60;

/** A worker in a process of its own that runs tasks of type `sleep`. */
async function victim(queue: string): Promise<Child> {
  const { server, connection } = { server: site.installation.server, connection: site.connection };
  const input = { url: server.url, namespace: connection.names.namespace, definition: { name: queue }, concurrency: 6, name: 'victim' };
  const child = await Child.start('test/chaos/worker-process.ts', input);
  children.push(child);
  await child.said('started');
  return child;
}

/** The runs of a child: they began when it says, and took at least as long as they were told to. */
function runsOf(child: Child): { from: number; to: number }[] {
  const offset = performance.now() - Date.now();
  return child.of('ran').map(({ at }) => ({ from: Number(at) + offset, to: Number(at) + offset + RUN_MS }));
}

describe('a concurrency limit of six', () => {
  it('is never exceeded by three workers; the share of one that is killed returns within 3 s', async () => {
    const queue = site.queueName();
    await redefine(site, { name: queue, limits: { concurrency: 6 } });
    await site.define({ name: queue });
    const effects = new Effects();
    const child = await victim(queue);
    await worker(site, effects, 'a', 40, { queue, concurrency: 6 });
    await worker(site, effects, 'b', 70, { queue, concurrency: 6 });
    await Promise.all(Array.from({ length: 1200 }, (_, i) => site.task(queue, `k${i}`, 'sleep', { ms: RUN_MS })));
    await eventually('all three work', () => {
      const by = (name: string) => effects.runs.filter((run) => run.worker === name).length;
      return by('a') > 20 && by('b') > 20 && child.of('ran').length > 20;
    });
    const killedAt = performance.now();
    child.kill('SIGKILL');
    await child.exited;
    expect(await waitUntil(() => effects.running === 6, { timeoutMs: 8000, everyMs: 2 })).toBe(true);
    // 2.9 s and what a busy machine adds.
    expect(performance.now() - killedAt).toBeLessThan(3600);
    await eventually('some more ran', () => effects.started(killedAt + 3600, Number.POSITIVE_INFINITY).length > 30);
    expect(effects.most).toBe(6);
    const alive = [...effects.runs, ...runsOf(child)].filter(({ from }) => from < killedAt);
    // The clocks of two processes tell the same millisecond differently.
    expect(overlap(alive.map(({ from, to }) => ({ from: from + 2, to })))).toBeLessThanOrEqual(6);
    expect(overlap(runsOf(child))).toBeGreaterThan(0);
  });

  it('moves to the worker that has the work, and back when it is lifted, lowered and raised', async () => {
    const queue = site.queueName();
    await redefine(site, { name: queue, limits: { concurrency: 2 } });
    await site.define({ name: queue });
    const effects = new Effects();
    const one = await worker(site, effects, 'a', 50, { queue, concurrency: 20 });
    await worker(site, effects, 'b', 50, { queue, concurrency: 20 });
    await backlog(site, queue, 3000);
    await eventually('two run', () => effects.runs.length > 20);
    expect(effects.most).toBe(2);
    expect(one.health().lanes.reduce((sum, { buffered }) => sum + buffered, 0)).toBeLessThan(10);
    await redefine(site, { name: queue, limits: { concurrency: 10 } });
    await eventually('ten run at once', () => effects.running === 10, 8000);
    expect(effects.most).toBe(10);
    const lifted = performance.now();
    await redefine(site, { name: queue });
    await eventually('many run at once', () => effects.running > 15, 8000);
    expect(performance.now() - lifted).toBeLessThan(1000);
    const lowered = performance.now();
    await redefine(site, { name: queue, limits: { concurrency: 3 } });
    await eventually('three run, and no more', () => overlap(effects.runs.filter(({ from }) => from > lowered + 1000)) === 3, 8000);
    expect(overlap(effects.runs.filter(({ from }) => from > lowered + 1000))).toBe(3);
  });
});
