import type { QueueJob } from '@jetlane/protocol';
import { Worker } from '@jetlane/worker';
import { describe, expect, it } from 'vitest';
import { eventually } from './services-fixture.js';
import { admin, ended, enqueueAll, forget, hold, keysOf, queue, site, startSteering, useSteering } from './steer-fixture.js';

useSteering('drains');

const waitsFor = async ({ id }: QueueJob, ...expected: string[]) =>
  eventually(`waits for ${expected.join(', ') || 'nothing'}`, async () => {
    const { waitsFor: reasons = [] } = await admin.jobs.get({ id });
    return JSON.stringify([...reasons].sort()) === JSON.stringify(expected.sort());
  });

describe('a drain', () => {
  it('says what it waits for, and ends when what stood there is worked off, whatever comes meanwhile', async () => {
    await startSteering();
    await enqueueAll(keysOf(5));
    const job = await admin.queues.drain({ queue });
    expect(job).toMatchObject({ kind: 'drain', state: 'running', left: { count: 5, exact: true } });
    await waitsFor(job, 'workers');
    await admin.queues.pause({ queue });
    await waitsFor(job, 'resume');
    await admin.queues.resume({ queue });
    const letGo = await hold(5);
    await enqueueAll(['late']);
    await waitsFor(job, 'running-tasks', 'waiting-tasks');
    await letGo(true);
    expect(await ended(job)).toMatchObject({ state: 'completed', done: 5, left: { count: 0 } });
    expect(await site.depth(queue)).toBe(1);
  });

  it('until all is empty waits for timers and new tasks too; a copy that takes it over goes on', async () => {
    const own = await startSteering();
    await site.timer(queue, 'delayed', { at: Date.now() + 3_600_000 });
    const job = await admin.queues.drain({ queue, empty: true });
    await waitsFor(job, 'timers');
    await own.stop();
    forget(own);
    await startSteering();
    await enqueueAll(['new']);
    await waitsFor(job, 'timers', 'workers');
    await admin.queues.purge({ queue, all: true, scheduled: true });
    expect(await ended(job)).toMatchObject({ state: 'completed' });
  });

  it('of an empty queue ends at once, and is cancelled on demand', async () => {
    await startSteering();
    expect(await ended(await admin.queues.drain({ queue }))).toMatchObject({ state: 'completed', done: 0 });
    await enqueueAll(['k']);
    const job = await admin.queues.drain({ queue });
    await admin.jobs.cancel({ id: job.id });
    expect(await ended(job)).toMatchObject({ state: 'cancelled' });
  });
});

describe('a cancellation by a filter', () => {
  it('takes what waits and what is delayed, and tells the worker of what runs', async () => {
    await startSteering();
    const aborted: string[] = [];
    const worker = new Worker(await site.link(), {
      ...{ queue, concurrency: 1 },
      handlers: {
        slow: (_, { id, signal }) =>
          new Promise<void>((_done, fail) =>
            signal.addEventListener('abort', () => {
              aborted.push(id);
              fail(signal.reason as Error);
            }),
          ),
      },
    });
    await worker.start();
    await enqueueAll(['running'], { type: 'slow' });
    await eventually('it runs', () => worker.health().busy === 1);
    await worker.pause?.();
    await enqueueAll(['waits'], { type: 'slow', lane: 'low' });
    await site.timer(queue, 'delayed', { at: Date.now() + 3_600_000, type: 'slow' });
    await site.timer(queue, 'other', { at: Date.now() + 3_600_000, type: 'other' });
    const job = await ended(await admin.queues.cancel({ queue, type: 'slow', reason: 'not needed' }));
    expect(job.state).toBe('completed');
    expect(job.done + job.held).toBe(3);
    await eventually('its handler was told', () => aborted.includes(`${queue}.running`));
    for (const key of ['running', 'waits', 'delayed'])
      await eventually(`${key} is cancelled`, async () => (await site.store.record(queue, key)).record?.reason === 'not needed');
    expect((await site.store.record(queue, 'other')).record).toBeUndefined();
    await worker.stop();
  });
});
