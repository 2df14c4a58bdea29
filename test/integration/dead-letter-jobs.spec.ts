import { describe, expect, it } from 'vitest';
import { begin, ended, hops } from './job-fixture.js';
import { bury, keysOf, queue, serveDeadLetters, site, startDeadLetters, useResiliency } from './resiliency-fixture.js';
import { eventually } from './services-fixture.js';

useResiliency('jobs');

describe('redrive by filter', () => {
  it('moves what fits and nothing else, and tells how it goes', async () => {
    const letters = await serveDeadLetters();
    for (const key of keysOf(30)) await bury(key, { type: Number(key.slice(1)) % 3 === 0 ? 'sms' : 'mail' });
    const job = await begin(letters, { filter: { queue_name: queue, task_type: 'sms' }, lane: 'high', rate: 1000 });
    expect(job).toMatchObject({
      kind: 'redrive',
      state: 'running',
      filter: { queue_name: queue, task_type: 'sms' },
      lane: 'high',
      rate: 1000,
      by: 'ada',
    });
    const done = await ended(letters, job);
    expect(done).toMatchObject({ state: 'completed', moved: 10, skipped: 0, failed: 0, left: { count: 0, exact: true }, failures: [] });
    expect((await letters.jobs({})).jobs.map(({ job_id }) => job_id)).toContain(job.job_id);
    expect((await letters.list({ queue_name: queue })).total.count).toBe(20);
    expect((await site.takeAll(queue, 10)).sort()).toEqual(hops(keysOf(30).filter((_, i) => i % 3 === 0)));
  });

  it('a dry run counts and shows a sample, and moves nothing', async () => {
    const letters = await serveDeadLetters();
    for (const key of keysOf(25)) await bury(key);
    const preview = await letters.redrive({ filter: { queue_name: queue }, dry_run: true });
    expect(preview).toMatchObject({ dry_run: true, matched: { count: 25, exact: true }, sample: { length: 20 } });
    expect(await site.depth(queue)).toBe(0);
  });

  it('keeps to its rate', async () => {
    const letters = await serveDeadLetters();
    for (const key of keysOf(20)) await bury(key);
    const start = performance.now();
    expect(await ended(letters, await begin(letters, { filter: { queue_name: queue }, rate: 10 }))).toMatchObject({ moved: 20 });
    expect(performance.now() - start).toBeGreaterThan(1850);
  });

  it('a full lane stops it: it says how many were moved, and a new one goes on from the cursor', async () => {
    const letters = await serveDeadLetters();
    await site.queue({ name: queue, lease: '1s', maxDeliveries: 5, maxDepth: 7 });
    for (const key of keysOf(20)) await bury(key);
    const stopped = await ended(letters, await begin(letters, { filter: { queue_name: queue }, rate: 40 }));
    expect(stopped).toMatchObject({
      state: 'stopped',
      moved: 7,
      failed: 0,
      left: { count: 13, exact: true },
      error: { code: 'queue-full' },
    });
    expect((await site.takeAll(queue, 7)).sort()).toEqual(hops(keysOf(7)));
    await site.queue({ name: queue, lease: '1s', maxDeliveries: 5, maxDepth: 100 });
    expect(await ended(letters, await begin(letters, { filter: { queue_name: queue }, rate: 1000, cursor: stopped.cursor }))).toMatchObject(
      {
        state: 'completed',
        moved: 13,
      },
    );
    expect((await site.takeAll(queue, 13)).sort()).toEqual(hops(keysOf(20).slice(7)));
  });

  it('covers what stood when it began: a task that dies again at once is not sent round and round', async () => {
    const letters = await serveDeadLetters();
    for (const key of keysOf(20)) await bury(key);
    const stop = site.work(queue, (delivery, ack) => {
      const hop = Number(/Task-Hop: (\d+)/.exec(delivery.headers)?.[1]);
      void bury(delivery.subject.split('.').at(-1)!, { hop }).then(ack);
    });
    const done = await ended(letters, await begin(letters, { filter: { queue_name: queue }, rate: 100 }));
    expect(done).toMatchObject({ state: 'completed', moved: 20 });
    await eventually(
      'all died again',
      async () => (await letters.list({ queue_name: queue })).items.filter(({ hop }) => hop === 2).length === 20,
    );
    stop();
  });

  it('is cancelled on demand, by any copy', async () => {
    const [one, two] = [await startDeadLetters(), await startDeadLetters()];
    for (const key of keysOf(30)) await bury(key);
    const job = await begin(one, { filter: { queue_name: queue }, rate: 10 });
    await eventually('it moves', async () => (await two.job(job)).moved > 0);
    await two.cancelJob(job);
    const done = await ended(two, job);
    expect(done.state).toBe('cancelled');
    expect(done.moved + done.left.count).toBe(30);
    expect(await site.depth(queue)).toBe(done.moved);
    expect((await two.cancelJob(job)).state).toBe('cancelled');
  });

  it('counts what cannot be moved, says why, and goes on', async () => {
    const letters = await serveDeadLetters();
    const gone = `${queue}-gone`;
    const from = Date.now() - 1;
    await bury('left', { queue: gone, type: 'mixed' });
    await bury('right', { type: 'mixed' });
    const done = await ended(letters, await begin(letters, { filter: { task_type: 'mixed', from }, rate: 100 }));
    expect(done).toMatchObject({ state: 'completed', moved: 1, failed: 1, failures: [{ task_id: `${gone}.left`, code: 'unknown-queue' }] });
    expect(await site.dead(gone, 'left')).toBeDefined();
  });

  it('two jobs over the same letters, on two copies: each task once', async () => {
    const copies = [await startDeadLetters(), await startDeadLetters()];
    for (const key of keysOf(60)) await bury(key);
    const jobs = await Promise.all(copies.map((letters) => begin(letters, { filter: { queue_name: queue }, rate: 2000 })));
    const done = await Promise.all(jobs.map((job, i) => ended(copies[i]!, job)));
    expect(done.map(({ state }) => state)).toEqual(['completed', 'completed']);
    expect(done.reduce((sum, { failed }) => sum + failed, 0)).toBe(0);
    expect((await site.takeAll(queue, 60)).sort()).toEqual(hops(keysOf(60)));
    expect(await site.depth(queue)).toBe(0);
  });
});

describe('discard by filter', () => {
  it('throws away what fits, each with a line in the log', async () => {
    const lines: object[] = [];
    const log = { info: (facts: object, event: string) => void lines.push({ event, ...facts }), warn: () => undefined };
    const letters = await serveDeadLetters({ log });
    for (const key of keysOf(10)) await bury(key, { reason: Number(key.slice(1)) < 4 ? 'poison' : 'fatal' });
    const job = (await letters.discard({ filter: { queue_name: queue, reason: 'poison' }, rate: 1000 })) as { job_id: string };
    expect(await ended(letters, job)).toMatchObject({ kind: 'discard', state: 'completed', moved: 4 });
    expect((await letters.list({ queue_name: queue })).total.count).toBe(6);
    const told = lines.filter((line) => (line as { event: string }).event === 'dead-letter:discarded');
    expect(told).toHaveLength(4);
    // Several go at once: the order of their lines is nobody's promise.
    expect(told).toContainEqual(expect.objectContaining({ id: `${queue}.k0`, reason: 'poison', job: job.job_id, by: 'ada' }));
  });
});

describe('jobs', () => {
  it('refuses more than twenty at a time, and ids that are none', async () => {
    const letters = await serveDeadLetters();
    for (const key of keysOf(60)) await bury(key);
    const jobs = [];
    for (let i = 0; i < 20; i++) jobs.push(await begin(letters, { filter: { queue_name: queue }, rate: 0.1 }));
    await expect(letters.redrive({ filter: { queue_name: queue }, rate: 0.1 })).rejects.toMatchObject({ code: 'too-many-jobs' });
    for (const { job_id } of jobs) await letters.cancelJob({ job_id });
    for (const job_id of ['x', '*', '../..', '00000000-0000-0000-0000-000000000000'])
      await expect(letters.job({ job_id }), job_id).rejects.toMatchObject({ code: 'job-not-found' });
  });
});
