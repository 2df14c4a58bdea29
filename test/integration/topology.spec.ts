import { TaskClient } from '@jetlane/client';
import { type Connection, connect, ensureQueue, listLanes, provisionBase, removeBase, removeQueue } from '@jetlane/jetstream';
import type { Topology } from '@jetlane/protocol';
import { Worker } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkStreams } from '../../apps/queue-manager/src/validate/checks.js';
import { Broker } from '../support/broker.js';
import { rejection } from '../support/wait-until.js';

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
