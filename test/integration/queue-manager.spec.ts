import { openQueueBucket } from '@jetlane/jetstream';
import { LANES } from '@jetlane/protocol';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { QueueManager, type QueueManagerOptions } from '../../apps/queue-manager/src/queue-manager.js';
import { eventually, Installation, keepingLog } from './services-fixture.js';

let site: Installation;
const log = keepingLog();
const running: QueueManager[] = [];

async function makeManager(options: Partial<QueueManagerOptions> = {}): Promise<QueueManager> {
  const manager = new QueueManager(await site.link(), { log, pollMs: 100, ...options });
  running.push(manager);
  return manager;
}

async function startManager(options: Partial<QueueManagerOptions> = {}): Promise<QueueManager> {
  const manager = await makeManager(options);
  await manager.start();
  return manager;
}

const admin = () => site.connection.admin();
const laneOf = (queue: string) => site.connection.names.lane(queue, 'normal');
const bucket = () => openQueueBucket(site.connection);

beforeAll(async () => {
  site = await Installation.open('manager');
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((manager) => manager.stop()));
});
afterAll(() => site.close());

describe('queue manager', () => {
  it('two at once on an empty server: the default queues stand, with all lanes', async () => {
    const { streams } = await admin();
    const { names } = site.connection;
    for (const stream of [names.schedules, names.taskStates, names.deadLetters, names.advisories, names.metrics])
      await streams.delete(stream);
    const managers = [await makeManager(), await makeManager(), await makeManager()];
    await Promise.all(managers.map((manager) => manager.start()));
    expect(log.lines.filter(({ level }) => level === 'error')).toEqual([]);
    for (const manager of managers) {
      expect(manager.queues().map(({ name, workers }) => [name, workers])).toEqual([
        ['default', 2],
        ['high_priority', 3],
        ['low_priority', 1],
      ]);
      expect(manager.health()).toMatchObject({ up: true, queues: 3, failed: {} });
    }
    for (const lane of LANES) await site.enqueue('low_priority', `first-${lane}`, { lane });
    expect((await site.takeAll('low_priority', 4)).length).toBe(4);
  });

  it('does not overwrite what people defined', async () => {
    await (await bucket()).put('default', { name: 'default', workers: 7 });
    const manager = await startManager();
    expect(manager.queues().find(({ name }) => name === 'default')).toEqual({ name: 'default', workers: 7 });
  });

  it('provisions a new definition and a changed one', async () => {
    const manager = await startManager();
    await (await bucket()).put('fresh', { name: 'fresh', maxDepth: 10 });
    await eventually('provisioned', async () => (await site.enqueue('fresh', 'one')).seq > 0);
    await (await bucket()).put('fresh', { name: 'fresh', maxDepth: 20, lease: '5s' });
    await eventually('changed', async () => {
      const { streams, consumers } = await admin();
      const { stream, consumer } = laneOf('fresh');
      return (
        (await streams.info(stream)).config.max_msgs === 20 && (await consumers.info(stream, consumer)).config.ack_wait === 5_000_000_000
      );
    });
    await eventually('in the stats', () => manager.stats('fresh')[0]?.depth === 1);
  });

  it('passes over a definition that does not fit, tells it, and goes on', async () => {
    const manager = await startManager();
    await (await bucket()).put('broken', { name: 'broken', workers: 'many' } as never);
    await (await bucket()).put('fine', { name: 'fine' });
    await eventually('the good one stands', async () => manager.queues().some(({ name }) => name === 'fine'));
    expect(manager.health().failed.broken).toContain('workers');
    expect(() => manager.stats('fne')).toThrow('did you mean "fine"');
  });

  it('makes deleted consumers, lanes and base streams again', async () => {
    const manager = await startManager();
    const { streams, consumers } = await admin();
    const { names } = site.connection;
    await site.enqueue('default', 'survivor', { lane: 'high' });
    await consumers.delete(names.lane('default', 'high').stream, names.lane('default', 'high').consumer);
    await streams.delete(laneOf('default').stream);
    await streams.delete(names.advisories);
    expect((await manager.reconcile()).sort()).toEqual([names.lane('default', 'high').stream, laneOf('default').stream].sort());
    expect(await manager.reconcile()).toEqual([]);
    expect(await site.messages(names.advisories)).toBe(0);
    await site.enqueue('default', 'newcomer');
    expect((await site.takeAll('default', 2)).sort()).toEqual(['newcomer#1', 'survivor#1']);
  });

  it('puts back what somebody changed by hand: a stream, a consumer, the bucket of definitions', async () => {
    const manager = await startManager();
    const { streams, consumers } = await admin();
    const { stream, consumer } = laneOf('high_priority');
    await streams.update(stream, { max_msgs: 5, discard: 'old' });
    await consumers.update(stream, consumer, { ack_wait: 1_000_000_000, backoff: [], max_ack_pending: 1 });
    expect(await manager.reconcile()).toEqual([stream]);
    expect((await streams.info(stream)).config).toMatchObject({ max_msgs: 10_000_000, discard: 'new' });
    expect((await consumers.info(stream, consumer)).config).toMatchObject({
      max_ack_pending: 5000,
      backoff: expect.arrayContaining([30e9]),
    });
    expect(await manager.reconcile()).toEqual([]);
    const before = manager.queues();
    await streams.delete(`KV_${site.connection.names.bucket('queues')}`);
    await eventually('the bucket is filled again', async () => {
      await manager.reconcile().catch(() => undefined);
      return (await manager.store.list().catch(() => [])).length === before.length;
    });
    await (await bucket()).put('born-later', { name: 'born-later' });
    await eventually('the watch goes on', () => manager.queues().some(({ name }) => name === 'born-later'));
  });

  it('leaves a default queue deleted that somebody deleted', async () => {
    const manager = await startManager();
    await manager.store.remove('low_priority', undefined);
    const other = await startManager();
    expect(other.queues().map(({ name }) => name)).not.toContain('low_priority');
    await manager.store.change('low_priority', 0, () => ({ name: 'low_priority', workers: 1 }));
  });

  it('repairs by itself on its slow round', async () => {
    await startManager({ reconcileMs: 100 });
    const { stream, consumer } = laneOf('default');
    await (await admin()).consumers.delete(stream, consumer);
    await eventually(
      'the consumer is back',
      async () => (await (await admin()).consumers.info(stream, consumer).catch(() => undefined)) !== undefined,
    );
  });

  it('answers with live statistics', async () => {
    const manager = await startManager();
    await site.takeAll('high_priority', 0);
    for (let i = 0; i < 5; i++) await site.enqueue('high_priority', `stat${i}`, { lane: 'critical' });
    await site.timer('high_priority', 'later', { at: Date.now() + 3_600_000 });
    await site.store.publishDead('high_priority', 'gone', { headers: [], data: new Uint8Array(1), hop: 1, extra: {} });
    const { stream, consumer } = site.connection.names.lane('high_priority', 'critical');
    let held = 0;
    const puller = site.connection.puller({ stream, consumer, onDelivery: () => held++, onEnd: () => undefined });
    puller.start(1);
    puller.pull(2, 'wait');
    await eventually('counted', () => {
      const [stats] = manager.stats('high_priority');
      return held === 2 && stats?.active === 2 && stats.dead === 1 && stats.scheduled === 1;
    });
    puller.stop();
    const [stats] = manager.stats('high_priority');
    expect(stats).toMatchObject({
      depth: 5,
      active: 2,
      paused: false,
      lanes: { critical: { depth: 5, ackPending: 2 }, low: { depth: 0, ackPending: 0, oldestAgeMs: null } },
    });
    expect(stats?.lanes.critical.oldestAgeMs).toBeGreaterThanOrEqual(0);
    expect(stats?.lanes.critical.oldestAgeMs).toBeLessThan(60_000);
  });
});
