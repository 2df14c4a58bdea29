import { openPauses, provisionQueue } from '@jetlane/jetstream';
import { LANES } from '@jetlane/protocol';
import { Worker } from '@jetlane/worker';
import { describe, expect, it } from 'vitest';
import { QueueManager } from '../../apps/queue-manager/src/queue-manager.js';
import { Pauses } from '../../apps/queue-manager/src/steering/pauses.js';
import { LinkProxy } from '../support/link-proxy.js';
import { eventually } from './services-fixture.js';
import { admin, enqueueAll, forget, keysOf, log, pausedLanes, queue, site, startSteering, useSteering } from './steer-fixture.js';

useSteering('pauses');

const all = [...LANES];
const entry = (fields: object) => ({ paused: true, at: Date.now(), ...fields });

describe('a paused queue', () => {
  it('hands nothing out, takes tasks in, and counts no worker as stuck; at the resume they run', async () => {
    await startSteering();
    let ran = 0;
    const worker = new Worker(await site.link(), { queue, handlers: { noop: () => void ran++ } });
    await worker.start();
    expect(await admin.queues.pause({ queue, reason: 'maintenance' })).toMatchObject({
      ...{ queue, paused: true, by: 'tester', reason: 'maintenance' },
    });
    await enqueueAll(keysOf(5));
    const lane = () => worker.health().lanes.find(({ lane: name }) => name === 'normal');
    // The watchdog asks about a lane that is silent for four seconds, and again a second later.
    await eventually('the worker knows', () => lane()?.paused === true, 30_000);
    expect(lane()?.stuck).toBeUndefined();
    expect(ran).toBe(0);
    expect(await admin.queues.resume({ queue })).toMatchObject({ paused: false });
    await eventually('all ran', () => ran === 5);
    await worker.stop();
  });

  it('for a time is resumed by the server, with nobody there to do it', async () => {
    const steering = await startSteering();
    const { until, since } = await admin.queues.pause({ queue, for: '1s' });
    expect(until! - since!).toBeGreaterThanOrEqual(1000);
    expect(until! - since!).toBeLessThan(3000);
    expect(await pausedLanes()).toEqual(all);
    await steering.stop();
    await eventually('resumed', async () => (await pausedLanes()).length === 0);
    await startSteering();
    expect(await admin.queues.paused({ queue })).toMatchObject({ paused: false, since });
  });

  it('stays paused when the server, the queue manager and the definition come again', async () => {
    const steering = await startSteering();
    await admin.queues.pause({ queue });
    await steering.stop();
    site.server.kill('SIGKILL');
    await site.server.exited;
    await eventually('the link is seen to be down', () => site.connection.state !== 'connected');
    await site.server.start();
    await eventually('the link is back', () => site.connection.state === 'connected');
    await eventually('paused still', async () => (await pausedLanes().catch(() => [])).length === 4);
    const manager = new QueueManager(await site.link(), { log });
    await manager.start();
    await provisionQueue(site.connection, { name: queue, lease: '20s' });
    await manager.stop();
    expect(await pausedLanes()).toEqual(all);
  });

  it('is enforced by the server’s clock, which wrote the times: a manager whose clock is 20 minutes ahead goes on with it', async () => {
    const link = await site.link();
    const behind = Object.assign(Object.create(link) as typeof link, {
      clock: { toServer: (own: number) => Promise.resolve(own - 1_200_000) },
    });
    const pauses = new Pauses(behind, { log, roundMs: 50 });
    await pauses.start();
    expect(await pauses.set(queue, false, { by: 'tester' })).toMatchObject({ paused: false });
    const { stream, consumer } = site.connection.names.lane(queue, 'high');
    const { consumers } = await site.connection.admin();
    await consumers.pause(stream, consumer, new Date(Date.now() + 3_600_000));
    await eventually('a round has resumed it', async () => (await pausedLanes()).length === 0);
    await pauses.stop();
  });

  it('is paused from the first moment of a consumer that is made anew', async () => {
    const steering = await startSteering();
    await admin.queues.pause({ queue, for: '1h' });
    await steering.stop();
    const { stream, consumer } = site.connection.names.lane(queue, 'high');
    await (await site.connection.admin()).consumers.delete(stream, consumer);
    expect(await pausedLanes()).toEqual(['critical', 'normal', 'low']);
    await provisionQueue(site.connection, { name: queue });
    expect(await pausedLanes()).toEqual(all);
  });

  it.each(['before', 'after'] as const)('by a copy that dies %s it has paused the first lane is finished by another', async (when) => {
    const proxy = await LinkProxy.open(site.server.url);
    const cut = proxy.cutAt({ when, subject: /CONSUMER\.PAUSE/ });
    const link = await site.link(proxy.url);
    const dying = await startSteering({ roundMs: 600_000 }, link);
    admin.queues.pause({ queue }).catch(() => undefined);
    await cut;
    forget(dying);
    await link.close();
    expect((await pausedLanes()).length).toBeLessThan(4);
    await startSteering();
    expect(await pausedLanes()).toEqual(all);
    await proxy.close();
  });

  it('is made so again where somebody changed a consumer by hand, and is left alone without an entry', async () => {
    await startSteering();
    await (await openPauses(site.connection)).put(queue, entry({}));
    await eventually('by the entry alone', async () => (await pausedLanes()).length === 4);
    const { consumers } = await site.connection.admin();
    const { stream, consumer } = site.connection.names.lane(queue, 'low');
    await consumers.resume(stream, consumer);
    await eventually('again', async () => (await pausedLanes()).length === 4);
    await admin.queues.resume({ queue });
    expect(await pausedLanes()).toEqual([]);
  });

  it('refuses an unknown queue and a time that is none, and says what was meant', async () => {
    await startSteering();
    await expect(admin.queues.pause({ queue: `${queue}x` })).rejects.toMatchObject({ code: 'unknown-queue' });
    await expect(admin.queues.pause({ queue, for: 'soon' })).rejects.toMatchObject({ code: 'invalid-argument' });
  });
});
