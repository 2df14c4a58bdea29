import { TaskClient } from '@jetlane/client';
import { type Connection, connect, ensureQueue, listLanes, provisionBase, removeBase, removeQueue } from '@jetlane/jetstream';
import type { Topology } from '@jetlane/protocol';
import { Worker } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkStreams } from '../../apps/queue-manager/src/validate/checks.js';
import { Broker } from '../support/broker.js';
import { eventually, rejection } from '../support/wait-until.js';

let broker: Broker;
beforeAll(async () => {
  broker = await Broker.start('');
});
afterAll(() => broker.stop());

const link = (namespace: string, topology?: Topology): Promise<Connection> =>
  broker.connect({ namespace, ...(topology === undefined ? {} : { topology }) });

const wrong = (installed: Topology) => ({
  code: 'wrong-topology',
  message: expect.stringContaining(`set JETLANE_TOPOLOGY=${installed}`),
  details: { installed },
});

describe.each([
  ['compact', 'lanes'],
  ['lanes', 'compact'],
] as const)('an installation laid out as %s', (installed, other) => {
  const namespace = `laid-${installed}`;
  beforeAll(async () => {
    await ensureQueue(await link(namespace, installed), { name: 'q', maxDepth: 100 });
  });

  it(`refuses a process that provisions it as ${other}, and stays as it is`, async () => {
    const stranger = await link(namespace, other);
    expect(await rejection(provisionBase(stranger))).toMatchObject(wrong(installed));
    expect(await rejection(ensureQueue(stranger, { name: 'new' }))).toMatchObject(wrong(installed));
    const own = await link(namespace, installed);
    await provisionBase(own);
    const { config } = await (await own.admin()).streams.info(own.names.advisories);
    expect(config.subjects).toEqual(own.names.maxDeliveries());
    expect((await listLanes(own)).length).toBe(4);
  });

  it('tells a worker when it starts, and a client at its first task or question', async () => {
    const stranger = await link(namespace, other);
    expect(await rejection(new Worker(stranger, { queue: 'q', handlers: {} }).start())).toMatchObject(wrong(installed));
    const client = new TaskClient(stranger);
    expect(await rejection(client.status('q.k'))).toMatchObject(wrong(installed));
    expect(await rejection(client.enqueue('q', { type: 't' }))).toMatchObject(wrong(installed));
    expect(await rejection(client.cancel('q.k'))).toMatchObject(wrong(installed));
    await client.close();
  });

  it('is named by validate', async () => {
    const findings = await checkStreams(await link(namespace, other), [{ name: 'q' }]);
    expect(findings).toMatchObject([{ level: 'error', check: 'streams', fix: expect.stringContaining(`JETLANE_TOPOLOGY=${installed}`) }]);
  });

  it('takes tasks of a producer that knows nothing of it', async () => {
    const stranger = await link(namespace, other);
    const own = await link(namespace, installed);
    await stranger.publish(stranger.names.task('q', 'low', 'from-afar'), '{}');
    const client = new TaskClient(own);
    expect(await client.status('q.from-afar')).toMatchObject({ state: 'queued', lane: 'low' });
    await client.close();
  });
});

describe('a client that starts before anything is laid out', () => {
  it('is told as soon as it is laid out in another way: one key never stands for two tasks', async () => {
    const early = new TaskClient(await link('early', 'lanes'));
    await early.start();
    expect(await rejection(early.status('q.k'))).toMatchObject({ code: 'task-not-found' });
    expect(await rejection(early.enqueue('q', { type: 't' }))).toMatchObject({ code: 'unknown-queue' });
    const own = await link('early', 'compact');
    await ensureQueue(own, { name: 'q' });
    const client = new TaskClient(own);
    const { id } = await client.enqueue('q', { type: 't' });
    await eventually('the early one knows the queue', () => early.queueNames().includes('q'));
    expect(await rejection(early.enqueue('q', { type: 't', key: 'order-17' }))).toMatchObject(wrong('compact'));
    expect(await rejection(early.status(id))).toMatchObject(wrong('compact'));
    expect(await rejection(early.cancel(id))).toMatchObject(wrong('compact'));
    expect(await rejection(early.stats('q'))).toMatchObject(wrong('compact'));
    expect(await early.enqueueMany([{ queue: 'q', type: 't' }])).toMatchObject({ accepted: 0, failed: 1 });
    expect((await listLanes(own)).reduce((sum, { depth }) => sum + depth, 0)).toBe(1);
    await Promise.all([early.close(), client.close()]);
  });

  it('goes on when it is laid out as it expects', async () => {
    const early = new TaskClient(await link('early-right', 'compact'));
    await early.start();
    await ensureQueue(await link('early-right', 'compact'), { name: 'q' });
    const { id } = await early.enqueue('q', { type: 't' });
    expect(await early.status(id)).toMatchObject({ state: 'queued' });
    await early.close();
  });
});

describe('an installation whose stream of timers was deleted by hand', () => {
  it.each([
    ['compact', 'lanes'],
    ['lanes', 'compact'],
  ] as const)('is still %s: what is left of the lanes tells', async (installed, other) => {
    const own = await link(`torn-${installed}`, installed);
    await ensureQueue(own, { name: 'a_high' });
    await (await own.admin()).streams.delete(own.names.schedules);
    expect(await rejection(provisionBase(await link(`torn-${installed}`, other)))).toMatchObject(wrong(installed));
    await provisionBase(own);
    const { config } = await (await own.admin()).streams.info(own.names.schedules);
    expect(config.metadata).toMatchObject({ 'jetlane-topology': installed });
  });
});

describe('topologies', () => {
  it('of two processes that lay one out at the same moment one goes on, and the other is told', async () => {
    for (let round = 0; round < 5; round++) {
      const both = [await link(`race-${round}`, 'lanes'), await link(`race-${round}`, 'compact')];
      const ends = await Promise.allSettled(both.map((one) => provisionBase(one)));
      expect(ends.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
      const lost = ends.findIndex(({ status }) => status === 'rejected');
      const winner = both[1 - lost]!;
      expect((ends[lost] as PromiseRejectedResult).reason).toMatchObject(wrong(winner.names.topology));
      const { config } = await (await winner.admin()).streams.info(winner.names.advisories);
      expect(config.subjects).toEqual(winner.names.maxDeliveries());
    }
  });

  it('of two installations on one account do not meet, whatever their namespaces', async () => {
    const sites = [await link('a', 'compact'), await link('workers', 'lanes'), await link('', 'compact')];
    for (const site of sites) await ensureQueue(site, { name: 'same' });
    for (const [i, site] of sites.entries()) await site.publish(site.names.task('same', 'low', `k${i}`), '{}');
    for (const site of sites) {
      const full = (await listLanes(site, 'same')).filter(({ depth }) => depth > 0);
      expect(full).toMatchObject([{ lane: 'low', depth: 1, ...site.names.lane('same', 'low') }]);
    }
    expect(new Set((await Promise.all(sites.map((site) => listLanes(site)))).flat().map(({ stream }) => stream)).size).toBe(6);
  });

  it('can be changed when the installation is gone', async () => {
    const before = await link('changed', 'lanes');
    await ensureQueue(before, { name: 'q' });
    await removeQueue(before, 'q');
    await removeBase(before);
    const after = await link('changed', 'compact');
    await ensureQueue(after, { name: 'q' });
    expect((await listLanes(after)).length).toBe(4);
  });

  it('that do not exist are refused before anything is connected', async () => {
    expect(await rejection(connect({ servers: broker.server.url, topology: 'flat' as never }))).toMatchObject({ code: 'invalid-argument' });
  });
});
