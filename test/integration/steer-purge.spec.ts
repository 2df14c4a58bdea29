import { countMessages, moveLane } from '@jetlane/jetstream';
import { LANES, type QueuePreview } from '@jetlane/protocol';
import { Worker } from '@jetlane/worker';
import { describe, expect, it } from 'vitest';
import { eventually } from './services-fixture.js';
import {
  admin,
  define,
  ended,
  enqueueAll,
  hold,
  keysOf,
  pausedLanes,
  queue,
  site,
  startSteering,
  statesOf,
  useSteering,
} from './steer-fixture.js';

useSteering('purges');

const timers = () => countMessages(site.connection, site.connection.names.schedules, site.connection.names.timer(queue, '*'));

describe('a purge', () => {
  it('by type and lane takes those and no others, and each leaves a record', async () => {
    await startSteering();
    await enqueueAll(keysOf(30, 'mail'), { type: 'mail' });
    await enqueueAll(keysOf(30, 'other'), { type: 'other' });
    await enqueueAll(['high'], { type: 'mail', lane: 'high' });
    const job = await ended(await admin.queues.purge({ queue, type: 'mail', lane: 'normal', reason: 'sent twice' }));
    expect(job).toMatchObject({
      state: 'completed',
      done: 30,
      held: 0,
      skipped: 0,
      failed: 0,
      left: { count: 0, exact: true },
      by: 'tester',
    });
    expect(await site.depth(queue)).toBe(31);
    expect(new Set(await statesOf(keysOf(30, 'mail')))).toEqual(new Set(['cancelled']));
    expect((await site.store.record(queue, 'mail7')).record).toMatchObject({ reason: 'sent twice', type: 'mail', lane: 'normal' });
    expect(new Set(await statesOf(keysOf(30, 'other')))).toEqual(new Set([undefined]));
    expect(await pausedLanes()).toEqual([]);
  });

  it('never takes what a worker has in hand', async () => {
    await startSteering();
    await enqueueAll(keysOf(40));
    const letGo = await hold(10);
    const job = await ended(await admin.queues.purge({ queue, all: true }));
    expect(job).toMatchObject({ done: 30, held: 10, state: 'completed' });
    expect(await site.depth(queue)).toBe(10);
    expect(await statesOf(['k0', 'k9', 'k10'])).toEqual([undefined, undefined, 'cancelled']);
    await letGo(true);
    await eventually('settled', async () => (await site.depth(queue)) === 0);
  });

  it('nor what it may have in hand of a consumer that was deleted: for one lease the new one does not know', async () => {
    await startSteering();
    await enqueueAll(keysOf(10));
    const letGo = await hold(3);
    const { stream, consumer } = site.connection.names.lane(queue, 'normal');
    await (await site.connection.admin()).consumers.delete(stream, consumer);
    await site.queue({ name: queue });
    await enqueueAll(['later']);
    expect(await ended(await admin.queues.purge({ queue, all: true }))).toMatchObject({ done: 1, held: 10 });
    expect([await site.depth(queue), await statesOf(['k0', 'later'])]).toEqual([10, [undefined, 'cancelled']]);
    await letGo(false);
  });

  it('after its lanes were moved to another storage it takes all that waits, at once', async () => {
    await startSteering();
    await enqueueAll(keysOf(10));
    const moved = { name: queue, storage: 'memory' } as const;
    for (const lane of LANES) await moveLane(site.connection, moved, lane);
    await define(moved);
    expect(await ended(await admin.queues.purge({ queue, all: true }))).toMatchObject({ done: 10, held: 0 });
    expect(await site.depth(queue)).toBe(0);
  });

  it('beside workers that run at full speed: each task ran or was purged, none both, none neither', async () => {
    await startSteering();
    const ran = new Set<string>();
    const keys = keysOf(600);
    await enqueueAll(keys);
    const worker = new Worker(await site.link(), {
      ...{ queue, concurrency: 4 },
      handlers: { noop: (_, { id }) => new Promise<void>((done) => setTimeout(done, 5)).then(() => void ran.add(id.split('.')[1]!)) },
    });
    await worker.start();
    await eventually('it runs', () => ran.size > 20);
    const job = await ended(await admin.queues.purge({ queue, all: true, rate: 400 }));
    await eventually('nothing is left', async () => (await site.depth(queue)) === 0);
    await worker.stop();
    const states = await statesOf(keys);
    const purged = keys.filter((_, i) => states[i] === 'cancelled');
    expect(purged.length).toBe(job.done);
    expect(purged.length).toBeGreaterThan(0);
    expect(purged.filter((key) => ran.has(key))).toEqual([]);
    expect(ran.size + purged.length).toBe(keys.length);
    expect(await pausedLanes()).toEqual([]);
  });

  it('of timers takes delayed tasks of the lane too, and only if asked', async () => {
    await startSteering();
    for (const key of ['a', 'b']) await site.timer(queue, key, { at: Date.now() + 3_600_000 });
    await site.timer(queue, 'low', { at: Date.now() + 3_600_000, lane: 'low' });
    await enqueueAll(['now']);
    await ended(await admin.queues.purge({ queue, all: true }));
    expect([await site.depth(queue), await timers()]).toEqual([0, 3]);
    expect(await ended(await admin.queues.purge({ queue, lane: 'normal', scheduled: true }))).toMatchObject({ done: 2 });
    expect([await timers(), ...(await statesOf(['a', 'b', 'low']))]).toEqual([1, 'cancelled', 'cancelled', undefined]);
  });

  it('by age, by group and by id', async () => {
    await startSteering();
    await enqueueAll(['old1', 'old2'], { group: 'g' });
    await eventually('a moment has passed', async () => Date.now() - (await site.inLane(queue, 'old2'))!.storedAt > 1100);
    await enqueueAll(['new1', 'new2'], { group: 'g' });
    expect(await ended(await admin.queues.purge({ queue, olderThan: '1s' }))).toMatchObject({ done: 2 });
    expect(await statesOf(['old1', 'old2', 'new1'])).toEqual(['cancelled', 'cancelled', undefined]);
    await enqueueAll(['x', 'y']);
    expect(await ended(await admin.queues.purge({ queue, ids: [`${queue}.x`, `${queue}.gone`] }))).toMatchObject({ done: 1 });
    expect(await ended(await admin.queues.purge({ queue, group: 'g' }))).toMatchObject({ done: 2 });
    expect(await site.depth(queue)).toBe(1);
  });

  it('as a dry run counts, shows some, and does nothing', async () => {
    await startSteering();
    await enqueueAll(keysOf(50), { type: 'a', group: 'g' });
    await enqueueAll(['b'], { type: 'b', lane: 'low' });
    const letGo = await hold(5);
    const preview = (await admin.queues.purge({ queue, type: 'a', dryRun: true })) as QueuePreview;
    expect(preview).toMatchObject({ dryRun: true, matched: { count: 50, exact: true }, held: 5, places: { normal: 50, low: 0 } });
    expect(preview.sample[0]).toMatchObject({ id: `${queue}.k0`, place: 'normal', type: 'a', group: 'g' });
    expect(preview.sample.length).toBe(20);
    expect(await admin.queues.purge({ queue, all: true, dryRun: true })).toMatchObject({ matched: { count: 51, exact: true }, held: 5 });
    expect([await site.depth(queue), (await admin.jobs.list({ queue })).items]).toEqual([51, []]);
    await letGo(true);
  });

  it('leaves no record where the queue keeps none, keeps to its rate, and is cancelled on demand', async () => {
    await startSteering();
    await define({ name: queue, keep: 'none' });
    await enqueueAll(keysOf(100));
    const began = performance.now();
    const started = await admin.queues.purge({ queue, all: true, rate: 20 });
    await expect(admin.queues.move({ queue, toLane: 'high', all: true })).rejects.toMatchObject({ code: 'too-many-jobs' });
    await eventually('some are gone', async () => (await site.depth(queue)) < 95);
    await admin.jobs.cancel({ id: (started as { id: string }).id });
    const job = await ended(started);
    expect(job.state).toBe('cancelled');
    expect(job.done).toBeLessThanOrEqual(((performance.now() - began) / 1000) * 20 + 2);
    expect(await site.depth(queue)).toBe(100 - job.done);
    expect(await statesOf(['k0'])).toEqual([undefined]);
  });

  it('refuses what says too little, or of another queue', async () => {
    await startSteering();
    await expect(admin.queues.purge({ queue })).rejects.toMatchObject({ code: 'invalid-argument', message: /"all": true/ });
    await expect(admin.queues.purge({ queue, ids: ['other.k'] })).rejects.toMatchObject({ code: 'invalid-argument' });
    await expect(admin.queues.purge({ queue: 'nowhere', all: true })).rejects.toMatchObject({ code: 'unknown-queue' });
  });
});
