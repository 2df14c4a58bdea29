import { ensureQueue, inHand, type MoveStep, mayBeInHand, moveLane, needsMove, provisionLane } from '@jetlane/jetstream';
import { JetlaneError, type QueueDefinition } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DefinitionStore } from '../../apps/queue-manager/src/definitions/definition-store.js';
import { QueueManager } from '../../apps/queue-manager/src/queue-manager.js';
import { rejection } from '../support/wait-until.js';
import { eventually, Installation, keepingLog } from './services-fixture.js';

let site: Installation;
beforeAll(async () => {
  site = await Installation.open('move');
});
afterAll(() => site.close());

class Ended extends Error {}
const STEPS: MoveStep[] = ['side', 'held', 'sealed', 'copied', 'deleted', 'made', 'filled', 'open'];
const lane = (queue: string) => site.connection.names.lane(queue, 'normal');
const config = async (queue: string) => (await (await site.connection.admin()).streams.info(lane(queue).stream)).config;
const keys = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `k${from + i}`);
const fill = async (queue: string, from: number, to: number) => {
  for (const key of keys(from, to))
    await site.enqueue(queue, key, {
      body: JSON.stringify(key),
      headers: [
        ['Task-Type', 'noop'],
        ['Task-Group', key],
      ],
    });
};
/** Everything that is in a lane, in its order. */
const taken = (queue: string, count: number) => site.takeAll(queue, count).then((found) => found.map((key) => key.replace('#1', '')));
const sideStands = async (queue: string) =>
  (await site.connection.admin()).streams.info(site.connection.names.laneStream(queue, 'normal').side).then(
    () => true,
    () => false,
  );

describe('a lane that gets another storage', () => {
  it('keeps its tasks, their headers and their order; who repeats an enqueue is still told', async () => {
    await site.queue({ name: 'plain' });
    await fill('plain', 0, 600);
    const wanted: QueueDefinition = { name: 'plain', storage: 'memory', maxDepth: 5000 };
    expect(await needsMove(site.connection, wanted, 'normal')).toBe(true);
    await moveLane(site.connection, wanted, 'normal');
    await provisionLane(site.connection, wanted, 'normal');
    expect(await config('plain')).toMatchObject({ storage: 'memory', max_msgs: 5000, retention: 'workqueue', discard: 'new' });
    expect((await config('plain')).subject_transform).toBeUndefined();
    expect(await sideStands('plain')).toBe(false);
    const { headers, data } = (await site.inLane('plain', 'k7'))!;
    expect(Object.fromEntries(headers.filter(([name]) => /^(Task|Nats-Msg|Moved)/.test(name)))).toEqual({
      'Nats-Msg-Id': 'k7#1',
      'Task-Hop': '1',
      'Task-Type': 'noop',
      'Task-Group': 'k7',
    });
    expect(Buffer.from(data).toString()).toBe('"k7"');
    expect((await site.enqueue('plain', 'k599')).duplicate).toBe(true);
    expect(await taken('plain', 600)).toEqual(keys(0, 600));
  });

  it('knows at once that nobody holds its tasks; not if the consumer before it did not know either', async () => {
    const free = async (queue: string) => !mayBeInHand((await site.inLane(queue, 'k1'))!, await inHand(site.connection, queue, 'normal'));
    await site.queue({ name: 'known' });
    await fill('known', 0, 3);
    await moveLane(site.connection, { name: 'known', storage: 'memory' }, 'normal');
    await provisionLane(site.connection, { name: 'known', storage: 'memory' }, 'normal');
    expect(await free('known')).toBe(true);
    // An update of the consumer takes nothing of that away.
    await provisionLane(site.connection, { name: 'known', storage: 'memory', lease: '50s' }, 'normal');
    expect(await free('known')).toBe(true);
    await site.queue({ name: 'unknown' });
    await fill('unknown', 0, 3);
    await (await site.connection.admin()).consumers.delete(lane('unknown').stream, lane('unknown').consumer);
    await site.queue({ name: 'unknown' });
    await moveLane(site.connection, { name: 'unknown', storage: 'memory' }, 'normal');
    expect(await free('unknown')).toBe(false);
    // Made anew between two tries, by whoever missed it: what the first one knew no longer counts.
    await site.queue({ name: 'later' });
    await fill('later', 0, 3);
    const wanted: QueueDefinition = { name: 'later', storage: 'memory' };
    const onStep = (step: MoveStep) => {
      if (step === 'sealed') throw new Ended();
    };
    await expect(moveLane(site.connection, wanted, 'normal', { onStep })).rejects.toThrow(Ended);
    const { consumers } = await site.connection.admin();
    const { stream, consumer } = lane('later');
    const { config: as } = await consumers.info(stream, consumer);
    await consumers.delete(stream, consumer);
    await consumers.add(stream, as);
    await moveLane(site.connection, wanted, 'normal');
    expect(await free('later')).toBe(false);
  });

  it.each(STEPS)('ended after "%s": the next one goes on, and nothing is lost or doubled', async (last) => {
    const queue = `ended-${last}`;
    await site.queue({ name: queue });
    await fill(queue, 0, 40);
    const wanted: QueueDefinition = { name: queue, storage: 'memory' };
    const onStep = (step: MoveStep) => {
      if (step === last) throw new Ended();
    };
    await expect(moveLane(site.connection, wanted, 'normal', { onStep })).rejects.toThrow(Ended);
    // Whoever provisions meanwhile, such as a worker that misses the lane, leaves it alone.
    expect(await rejection(provisionLane(site.connection, wanted, 'normal'))).toMatchObject({ details: { moving: true } });
    expect(await needsMove(site.connection, wanted, 'normal')).toBe(true);
    await moveLane(site.connection, wanted, 'normal');
    await provisionLane(site.connection, wanted, 'normal');
    expect(await needsMove(site.connection, wanted, 'normal')).toBe(false);
    await fill(queue, 40, 45);
    expect(await taken(queue, 45)).toEqual(keys(0, 45));
  });

  it.each([5, 300])('fails as a whole when one of %i copies is refused, and goes on next time', async (count) => {
    const queue = `refused-${count}`;
    await site.queue({ name: queue });
    await fill(queue, 0, count);
    const link = await site.link();
    const publish = link.publish.bind(link);
    let refusals = 0;
    link.publish = (subject, ...rest) =>
      subject.endsWith(`.k${count - 2}`) && refusals++ === 0
        ? Promise.reject(new JetlaneError('publish-timeout', 'refused for this test', { retryable: true }))
        : publish(subject, ...rest);
    const wanted: QueueDefinition = { name: queue, storage: 'memory' };
    // Vitest fails the run at a rejection that nobody handles.
    expect(await rejection(moveLane(link, wanted, 'normal'))).toMatchObject({ code: 'publish-timeout' });
    expect(refusals).toBe(1);
    await moveLane(link, wanted, 'normal');
    // What was refused comes behind those that were sent beside it.
    expect((await taken(queue, count)).sort()).toEqual(keys(0, count).sort());
  });

  it.each(['held', 'sealed', 'deleted', 'filled'] as const)('ended after "%s" and wanted as it was: it is as it was', async (last) => {
    const queue = `back-${last}`;
    await site.queue({ name: queue });
    await fill(queue, 0, 10);
    const onStep = (step: MoveStep) => {
      if (step === last) throw new Ended();
    };
    await expect(moveLane(site.connection, { name: queue, storage: 'memory' }, 'normal', { onStep })).rejects.toThrow(Ended);
    await moveLane(site.connection, { name: queue }, 'normal');
    await provisionLane(site.connection, { name: queue }, 'normal');
    expect((await config(queue)).storage).toBe('file');
    expect(await taken(queue, 10)).toEqual(keys(0, 10));
  });

  it('waits for what workers hold; when that takes long, the lane goes on as it was', async () => {
    await site.queue({ name: 'busy' });
    await fill('busy', 0, 3);
    const { stream, consumer } = lane('busy');
    const held: (() => void)[] = [];
    const puller = site.connection.puller({
      stream,
      consumer,
      onEnd: () => undefined,
      onDelivery: (delivery) => void held.push(() => void site.connection.ack(delivery)),
    });
    puller.start(1);
    puller.pull(1, 'now');
    await eventually('one is held', () => held.length === 1);
    const wanted: QueueDefinition = { name: 'busy', storage: 'memory' };
    expect(await rejection(moveLane(site.connection, wanted, 'normal', { drainMs: 100 }))).toMatchObject({
      code: 'queue-not-empty',
      details: { held: 1 },
    });
    expect(await sideStands('busy')).toBe(false);
    puller.pull(1, 'now');
    await eventually('the next one is handed out', () => held.length === 2);
    const moving = moveLane(site.connection, wanted, 'normal');
    for (const ack of held) ack();
    await moving;
    puller.stop();
    expect(await taken('busy', 1)).toEqual(['k2']);
  });

  it('by a changed definition: the queue manager does it, while somebody enqueues', async () => {
    const managers = await Promise.all(
      [1, 2].map(async () => new QueueManager(await site.link(), { log: keepingLog(), pollMs: 100, reconcileMs: 300, defaults: [] })),
    );
    await ensureQueue(site.connection, { name: 'live' });
    await Promise.all(managers.map((manager) => manager.start()));
    await fill('live', 0, 200);
    const store = new DefinitionStore(site.connection);
    const { definition } = await store.get('live');
    await store.change('live', undefined, () => ({ ...definition, storage: 'memory' }));
    await fill('live', 200, 300);
    await eventually('all lanes are moved', async () => !(await needsMove(site.connection, { name: 'live', storage: 'memory' }, 'normal')));
    await eventually('the managers are content', () => managers.every((manager) => Object.keys(manager.health().failed).length === 0));
    expect((await taken('live', 300)).sort()).toEqual(keys(0, 300).sort());
    await Promise.all(managers.map((manager) => manager.stop()));
  });
});
