import { TaskClient } from '@jetlane/client';
import {
  countHeld,
  DeadLetterMover,
  deleteLanes,
  laneInfo,
  listLanes,
  type MoveStep,
  moveLane,
  needsMove,
  provisionQueue,
  sealLanes,
} from '@jetlane/jetstream';
import { LANES, type Lane, type QueueDefinition } from '@jetlane/protocol';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { LiveStats } from '../../apps/queue-manager/src/live-stats.js';
import { guarded } from '../../apps/queue-manager/src/steering/lane-guard.js';
import { rejection } from '../support/wait-until.js';
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
import { deferred, QUICK_RETRY, WorkerSite } from './worker-fixture.js';

const reversed = [...LANES].reverse();

describe('a queue in one stream', () => {
  let workers: WorkerSite;
  let client: TaskClient;
  let name: string;
  beforeAll(async () => {
    workers = await WorkerSite.open('compact', {}, 'compact');
    await workers.schedule();
    client = new TaskClient(workers.connection);
  });
  beforeEach(() => {
    name = workers.queueName();
  });
  afterAll(async () => {
    await client.close();
    await workers.close();
  });
  const defined = (definition: Omit<QueueDefinition, 'name'> = {}) =>
    workers.worker({ queue: name, definition, handlers: {} }).then((it) => it.stop());

  it('runs the tasks of a higher lane first, and each of them once', async () => {
    await defined();
    const ids: string[] = [];
    for (const lane of reversed) for (let i = 0; i < 5; i++) ids.push((await client.enqueue(name, { type: 't', lane })).id);
    const { streams } = await workers.connection.admin();
    const { config, state } = await streams.info(workers.connection.names.lane(name, 'low').stream);
    expect([config.name, config.subjects?.length, state.messages, state.consumer_count]).toEqual([`compact_tasks_${name}`, 4, 20, 4]);
    const ran: Lane[] = [];
    await workers.worker({ queue: name, concurrency: 1, mode: 'strict', handlers: { t: (_, { lane }) => void ran.push(lane) } });
    for (const id of ids) expect(await client.result(id, { timeout: '20s' })).toMatchObject({ state: 'completed' });
    expect(ran.length).toBe(20);
    expect(ran.indexOf('low')).toBeGreaterThan(ran.lastIndexOf('critical'));
  });

  it('tells depth, oldest task and what is in hand of each lane by itself', async () => {
    await defined();
    for (const [i, lane] of LANES.entries())
      for (let n = 0; n <= i; n++) await client.enqueue(name, { type: 't', lane, key: `${lane}${n}` });
    const listed = await listLanes(workers.connection, name);
    expect(listed.map(({ lane, depth }) => [lane, depth])).toEqual([
      ['critical', 1],
      ['high', 2],
      ['normal', 3],
      ['low', 4],
    ]);
    const first = listed.map(({ oldestAt }) => oldestAt ?? 0);
    expect([...first].sort((a, b) => a - b)).toEqual(first);
    const begun = deferred();
    const end = deferred();
    const busy = await workers.worker({
      queue: name,
      concurrency: 1,
      mode: 'strict',
      handlers: {
        t: () => {
          begun.resolve();
          return end.promise;
        },
      },
    });
    await begun.promise;
    expect(await laneInfo(workers.connection, name, 'critical')).toMatchObject({ depth: 1, ackPending: 1, pending: 0 });
    const stats = new LiveStats(workers.connection, () => [name]);
    await stats.poll();
    expect(stats.read(name)[0]).toMatchObject({ depth: 10, lanes: { critical: { depth: 1, ackPending: 1 }, low: { depth: 4 } } });
    expect((await client.stats(name))[0]).toMatchObject({ depth: 10, lanes: { critical: { depth: 1, ackPending: 1 }, low: { depth: 4 } } });
    expect(await client.status(`${name}.critical0`)).toMatchObject({ lane: 'critical' });
    expect(await client.status(`${name}.low3`)).toMatchObject({ state: 'queued', lane: 'low' });
    end.resolve();
    await busy.stop();
  });

  it('retries in the lane of the task, and a dead letter that is redriven comes back to it', async () => {
    let broken = true;
    const lanes: Lane[] = [];
    const fails = (_: unknown, { lane }: { lane: Lane }) => {
      lanes.push(lane);
      if (broken) throw new Error('broken');
    };
    await workers.worker({ queue: name, definition: { retry: QUICK_RETRY }, handlers: { fails } });
    const { id } = await client.enqueue(name, { type: 'fails', lane: 'low', key: 'k' });
    expect(await client.result(id, { timeout: '20s' })).toMatchObject({ state: 'dead', lane: 'low' });
    await workers.gone(name, 'k');
    expect(await client.deadLetters.get(id)).toMatchObject({
      lane: 'low',
      source: expect.stringMatching(new RegExp(`^compact_tasks_${name}:\\d+$`)),
    });
    broken = false;
    expect(await new DeadLetterMover(workers.connection).redrive(id)).toMatchObject({ fate: 'moved', lane: 'low' });
    await eventually('it has run again', async () => (await client.status(id)).state === 'completed');
    expect(lanes).toEqual(['low', 'low', 'low', 'low']);
  });

  it('cancels what waits in any lane, and what runs', async () => {
    const aborted = deferred();
    const begun = deferred();
    const waits = (_: unknown, { signal }: { signal: AbortSignal }) => {
      begun.resolve();
      return new Promise<void>((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          aborted.resolve();
          reject(signal.reason as Error);
        });
      });
    };
    await workers.worker({ queue: name, concurrency: 1, handlers: { waits } });
    await client.enqueue(name, { type: 'waits', key: 'runs', lane: 'high' });
    await begun.promise;
    for (const lane of LANES) await client.enqueue(name, { type: 'waits', key: lane, lane, group: 'g' });
    expect(await client.cancelGroup(name, 'g')).toMatchObject({ complete: true });
    expect(await client.cancel(`${name}.runs`)).toBe('requested');
    await aborted.promise;
    for (const key of [...LANES, 'runs']) await workers.gone(name, key);
    for (const key of LANES) expect((await client.status(`${name}.${key}`)).state).toBe('cancelled');
  });

  it('is full as a whole, says so, and drops the oldest of its lowest lane first, never of a higher one than the new task', async () => {
    await defined({ maxDepth: 2, dropBehavior: 'drop-oldest' });
    for (let i = 0; i < 4; i++) await client.enqueue(name, { type: 't', key: `low${i}`, lane: 'low' });
    for (let i = 0; i < 4; i++) await client.enqueue(name, { type: 't', key: `high${i}`, lane: 'high' });
    await client.enqueue(name, { type: 't', key: 'critical', lane: 'critical' });
    expect(await client.status(`${name}.low0`)).toMatchObject({ state: 'cancelled', reason: 'dropped' });
    for (let i = 4; i < 7; i++) await client.enqueue(name, { type: 't', key: `high${i}`, lane: 'high' });
    for (let i = 1; i < 4; i++) expect((await client.status(`${name}.low${i}`)).state, `low${i}`).toBe('cancelled');
    const refused = await rejection(client.enqueue(name, { type: 't', lane: 'normal' }));
    expect(refused).toMatchObject({ code: 'queue-full', message: expect.stringContaining('all its lanes together') });
    await client.enqueue(name, { type: 't', key: 'high7', lane: 'high' });
    expect((await client.status(`${name}.high0`)).state).toBe('cancelled');
    expect((await client.status(`${name}.critical`)).state).toBe('queued');
  });

  it('is deleted with all that is in it: sealed first, so that nobody adds to it', async () => {
    await defined();
    for (const lane of LANES) await client.enqueue(name, { type: 't', lane });
    expect(await countHeld(workers.connection, name)).toEqual({ tasks: 4, timers: 0 });
    await sealLanes(workers.connection, name);
    expect(await countHeld(workers.connection, name)).toEqual({ tasks: 4, timers: 0 });
    const late = await workers.installation.link(undefined, { publishTimeoutMs: 500 });
    expect(await rejection(late.publish(late.names.task(name, 'low', 'late'), '{}'))).toMatchObject({ code: 'no-responders' });
    await deleteLanes(workers.connection, name);
    expect(await countHeld(workers.connection, name)).toEqual({ tasks: 0, timers: 0 });
    expect(await listLanes(workers.connection, name)).toEqual([]);
  });

  it.each(['copied', 'deleted', 'filled'] as const)(
    'gets another storage with the tasks of all lanes in their order, also when its mover dies after "%s"',
    async (last) => {
      await defined();
      for (let i = 0; i < 20; i++) for (const lane of LANES) await client.enqueue(name, { type: 't', lane, key: `${lane}-${i}` });
      const wanted: QueueDefinition = { name, storage: 'memory' };
      const onStep = (step: MoveStep) => {
        if (step === last) throw new Error('ended here');
      };
      expect(await rejection(moveLane(workers.connection, wanted, 'low', { onStep }))).toMatchObject({ message: 'ended here' });
      expect(await needsMove(workers.connection, wanted, 'critical')).toBe(true);
      await moveLane(workers.connection, wanted, 'critical');
      await provisionQueue(workers.connection, wanted);
      expect(await needsMove(workers.connection, wanted, 'low')).toBe(false);
      const { config } = await (await workers.connection.admin()).streams.info(workers.connection.names.lane(name, 'low').stream);
      expect(config).toMatchObject({ storage: 'memory', num_replicas: 1 });
      const taken = await workers.installation.takeAll(name, 80);
      for (const lane of LANES)
        expect(taken.filter((key) => key.startsWith(`${lane}-`))).toEqual(keysOf(20, `${lane}-`).map((key) => `${key}#1`));
    },
  );
});

describe('a queue in one stream, steered', () => {
  useSteering('compact-steer', 'compact');

  it('is paused in all lanes, and stays so when a consumer is made anew', async () => {
    await startSteering();
    await admin.queues.pause({ queue });
    expect(await pausedLanes()).toEqual([...LANES]);
    const { stream, consumer } = site.connection.names.lane(queue, 'high');
    await (await site.connection.admin()).consumers.delete(stream, consumer);
    await site.queue({ name: queue });
    expect(await pausedLanes()).toEqual([...LANES]);
    await admin.queues.resume({ queue });
    expect(await pausedLanes()).toEqual([]);
  });

  it('is purged by lane: what other lanes hold, and what a worker has in hand, stays', async () => {
    await startSteering();
    for (const lane of LANES) await enqueueAll(keysOf(10, lane), { lane });
    const letGo = await hold(3, 'normal');
    expect(await ended(await admin.queues.purge({ queue, lane: 'normal', all: true }))).toMatchObject({ done: 7, held: 3 });
    expect(await statesOf(['normal2', 'normal3', 'low0'])).toEqual([undefined, 'cancelled', undefined]);
    expect(await site.depth(queue)).toBe(33);
    await letGo(true);
    await eventually('what was in hand is settled', async () => (await site.depth(queue)) === 30);
    expect((await site.takeAll(queue, 30)).length).toBe(30);
  });

  it('holds a lane while its tasks are dealt with, however many tasks of other lanes lie before them', async () => {
    const { names } = site.connection;
    const { stream } = names.lane(queue, 'low');
    for (let i = 0; i < 50_010; i++) site.connection.send(names.task(queue, 'low', `k${i}`));
    await eventually('all are stored', async () => (await site.messages(stream)) === 50_010);
    const { seq: first } = await site.enqueue(queue, 'behind', { lane: 'normal' });
    const { result } = await guarded(site.connection, { queue, lane: 'normal', first }, () => pausedLanes());
    expect(result).toEqual(['normal']);
    expect(await pausedLanes()).toEqual([]);
  });

  it('moves tasks from lane to lane, each once, and drains', async () => {
    await startSteering();
    await enqueueAll(keysOf(20), { lane: 'low' });
    await enqueueAll(['there'], { lane: 'critical' });
    expect(await ended(await admin.queues.move({ queue, lane: 'low', toLane: 'critical', all: true }))).toMatchObject({
      done: 20,
      skipped: 0,
    });
    const lanes = await listLanes(site.connection, queue);
    expect(lanes.map(({ depth }) => depth)).toEqual([21, 0, 0, 0]);
    const drain = await admin.queues.drain({ queue });
    expect((await site.takeAll(queue, 21)).sort()).toEqual(['there#1', ...keysOf(20).map((key) => `${key}#2`)].sort());
    expect(await ended(drain)).toMatchObject({ state: 'completed', left: { count: 0 } });
  });

  it('is defined anew with more room, and its stream has four times what a lane may hold', async () => {
    await define({ name: queue, maxDepth: 5, maxBytes: 1000 });
    const { streams } = await site.connection.admin();
    const { config } = await streams.info(site.connection.names.lane(queue, 'low').stream);
    expect(config).toMatchObject({ max_msgs: 20, max_bytes: 4000, discard: 'new', retention: 'workqueue' });
  });
});
