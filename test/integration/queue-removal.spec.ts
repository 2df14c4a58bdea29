import { type Delivery, deleteLanes, ensureQueue, TaskStore } from '@jetlane/jetstream';
import { LANES } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DefinitionStore } from '../../apps/queue-manager/src/definitions/definition-store.js';
import { removeQueueSafely } from '../../apps/queue-manager/src/definitions/queue-removal.js';
import { eventually, rejection } from '../support/wait-until.js';
import { Installation } from './services-fixture.js';

let site: Installation;
let store: DefinitionStore;
beforeAll(async () => {
  site = await Installation.open('removal');
  store = new DefinitionStore(site.connection);
});
afterAll(() => site.close());

const remove = (queue: string, options = {}) => removeQueueSafely(site.connection, store, queue, options);
const standing = async (queue: string) => {
  const { streams } = await site.connection.admin();
  const found = await Promise.all(
    LANES.map((lane) =>
      streams.info(site.connection.names.lane(queue, lane).stream).then(
        () => true,
        () => false,
      ),
    ),
  );
  return found.filter(Boolean).length;
};
class Ended extends Error {}

describe('a queue that is deleted', () => {
  it('while somebody enqueues: the task that came in between is kept, and so is the queue', async () => {
    await ensureQueue(site.connection, { name: 'busy', maxDepth: 77 });
    let late: Promise<unknown> = Promise.resolve();
    const onStep = (step: string) => {
      if (step === 'undefined') late = site.enqueue('busy', 'late');
    };
    const error = await rejection(remove('busy', { onStep }));
    expect(error).toMatchObject({ code: 'queue-not-empty', details: { tasks: 1, timers: 0 } });
    await late;
    expect((await store.get('busy')).definition).toEqual({ name: 'busy', maxDepth: 77 });
    await site.enqueue('busy', 'later');
    expect((await site.takeAll('busy', 2)).sort()).toEqual(['late#1', 'later#1']);
    expect(await remove('busy')).toMatchObject({ dropped: 0 });
    expect(await standing('busy')).toBe(0);
  });

  it.each(['undefined', 'sealed'])('ended after "%s": defined again it has all its tasks; deleted again it goes on', async (last) => {
    const queue = `ended-${last}`;
    await ensureQueue(site.connection, { name: queue });
    await site.enqueue(queue, 'kept');
    const ending = (step: string) => {
      if (step === last) throw new Ended();
    };
    await expect(remove(queue, { force: true, onStep: ending })).rejects.toThrow(Ended);
    expect(await standing(queue)).toBe(4);
    expect(await rejection(remove(queue))).toMatchObject({ code: 'queue-not-empty' });
    await ensureQueue(site.connection, { name: queue });
    expect(await site.takeAll(queue, 1)).toEqual(['kept#1']);
    await expect(remove(queue, { onStep: ending })).rejects.toThrow(Ended);
    expect(await remove(queue)).toMatchObject({ dropped: 0 });
    expect(await standing(queue)).toBe(0);
    expect(await rejection(remove(queue))).toMatchObject({ code: 'unknown-queue' });
  });
});

describe('the timers of a queue that is deleted', () => {
  // A purge by subject moved the floor of the consumer that all queues share, and the server never delivered the others again.
  it('what is due of other queues stays with the schedulers that have it in hand: it comes again when their lease ends', async () => {
    const { connection } = site;
    const { names } = connection;
    const { schedules: stream, schedulerConsumer: consumer } = names;
    const { consumers, streams } = await connection.admin();
    await consumers.update(stream, consumer, { ack_wait: 1_000_000_000 });
    for (let i = 1; i <= 10; i++) await connection.publish(names.due(i === 8 ? 'gone' : 'stays', 'normal', `k${i}`), '');
    const timer = { lane: 'normal' as const, at: Date.now() + 3_600_000, hop: 1, attempt: 1, headers: [], data: '' };
    for (const queue of ['gone', 'stays']) await new TaskStore(connection).setTimer({ ...timer, queue, key: 'later' });
    const came: Delivery[] = [];
    const puller = connection.puller({ stream, consumer, onDelivery: (one) => void came.push(one), onEnd: () => undefined });
    puller.start(connection.epoch);
    puller.pull(10, 'wait');
    await eventually('all are in hand', () => came.length === 10);
    await deleteLanes(connection, 'gone');
    connection.ack(came[8]!);
    came.splice(0);
    puller.pull(8, 'wait');
    await eventually('the others come again', () => new Set(came.map(({ key }) => key)).size === 8, 20_000);
    expect(new Set(came.map(({ key }) => key))).toEqual(new Set(['k1', 'k2', 'k3', 'k4', 'k5', 'k6', 'k7', 'k10']));
    const left = Object.keys((await streams.info(stream, { subjects_filter: names.pattern('schedules.>') })).state.subjects ?? {});
    expect(left).toEqual([names.timer('stays', 'later')]);
    puller.stop();
  });
});
