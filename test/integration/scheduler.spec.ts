import { type Connection, type Delivery, deleteMessage, directGet, hopOf, leaderGet, openQueueBucket } from '@jetlane/jetstream';
import { LANES } from '@jetlane/protocol';
import { DueMover, type Fate, Scheduler, type SchedulerOptions } from '@jetlane/worker/scheduler';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually, Installation, keepingLog } from './services-fixture.js';

let site: Installation;
const running: Scheduler[] = [];
const log = keepingLog();

async function startScheduler(options: Partial<SchedulerOptions> = {}): Promise<Scheduler> {
  const scheduler = new Scheduler(await site.link(), { log, ...options });
  running.push(scheduler);
  await scheduler.start();
  return scheduler;
}

/** Takes one due message out of the consumer, as a scheduler does, and leaves it in hand. */
async function takeDue(connection: Connection, key: string): Promise<Delivery> {
  const { names } = connection;
  const found = await new Promise<Delivery>((resolve) => {
    const puller = connection.puller({
      stream: names.schedules,
      consumer: names.schedulerConsumer,
      onDelivery: (delivery) => {
        puller.stop();
        resolve(delivery);
      },
      onEnd: () => puller.pull(1, 'wait'),
    });
    puller.start(connection.epoch);
    puller.pull(1, 'wait');
  });
  expect(found.subject.endsWith(`.${key}`)).toBe(true);
  return found;
}

/** What is in hand comes back now, instead of after ten seconds. The next scheduler sets the lease right. */
async function endLeases(): Promise<void> {
  const { schedules, schedulerConsumer } = site.connection.names;
  await (await site.connection.admin()).consumers.update(schedules, schedulerConsumer, { ack_wait: 500 * 1_000_000 });
}

const purge = async (stream: string) => (await site.connection.admin()).streams.purge(stream);
const settled = () => eventually('schedules are empty', async () => (await site.messages(site.connection.names.schedules)) === 0);

beforeAll(async () => {
  site = await Installation.open('sched');
  await site.queue({ name: 'q' });
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((scheduler) => scheduler.stop()));
  // Timers that a failed test leaves behind must not fail the next one.
  await purge(site.connection.names.schedules);
});
afterAll(() => site.close());

describe('scheduler', () => {
  it('moves fired timers into their lanes once, with headers, payload and hop', async () => {
    await startScheduler();
    await startScheduler();
    for (const [i, lane] of LANES.entries())
      await site.timer('q', `move${i}`, { lane, hop: 3, attempt: 2, body: `{"n":${i}}`, type: 'mail' });
    await settled();
    for (const [i, lane] of LANES.entries()) {
      const moved = await site.inLane('q', `move${i}`, lane);
      expect(new TextDecoder().decode(moved?.data)).toBe(`{"n":${i}}`);
      expect(Object.fromEntries(moved?.headers ?? [])).toEqual({
        'Nats-Msg-Id': `move${i}#3`,
        'Task-Type': 'mail',
        'Task-Hop': '3',
        'Task-Attempt': '2',
      });
    }
    expect((await site.takeAll('q', 4)).sort()).toEqual(['move0#3', 'move1#3', 'move2#3', 'move3#3']);
  });

  it('lets timers wait while no scheduler runs, and catches up', async () => {
    for (let i = 0; i < 50; i++) await site.timer('q', `late${i}`);
    await eventually('all are due', async () => {
      const { consumers } = await site.connection.admin();
      const { schedules, schedulerConsumer } = site.connection.names;
      return (await consumers.info(schedules, schedulerConsumer)).num_pending === 50;
    });
    expect(await site.depth('q')).toBe(0);
    await startScheduler();
    expect(new Set(await site.takeAll('q', 50)).size).toBe(50);
  });

  it('drops what its record says is cancelled or settled, and moves what it does not concern', async () => {
    const record = (key: string, hop: number, state: 'cancelled' | 'completed' | 'accepted') =>
      site.store.writeRecord('q', key, { id: `q.${key}`, hop, state, attempt: 1, at: {} }, 60_000);
    await Promise.all([
      record('c1', 2, 'cancelled'),
      record('c2', 3, 'completed'),
      record('c3', 2, 'accepted'),
      record('c4', 1, 'cancelled'),
    ]);
    const fates: Fate[] = [];
    await startScheduler({ onFate: (fate) => fates.push(fate) });
    for (const key of ['c1', 'c2', 'c3', 'c4']) await site.timer('q', key, { hop: 2 });
    await settled();
    expect((await site.takeAll('q', 2)).sort()).toEqual(['c3#2', 'c4#2']);
    expect(fates.sort()).toEqual(['dropped', 'dropped', 'moved', 'moved']);
  });

  it('killed between publish and ack: one copy', async () => {
    await site.timer('q', 'crash1');
    const due = await takeDue(site.connection, 'crash1');
    expect((await new DueMover(site.connection, { log }).move(due)).fate).toBe('moved');
    site.connection.nak(due);
    const fates: Fate[] = [];
    await startScheduler({ onFate: (fate) => fates.push(fate) });
    await endLeases();
    await settled();
    expect(fates).toEqual(['known']);
    expect(await site.takeAll('q', 1)).toEqual(['crash1#1']);
    expect(await site.depth('q')).toBe(0);
  });

  it('killed after the task was worked off: it does not run again', async () => {
    await site.timer('q', 'crash2');
    const due = await takeDue(site.connection, 'crash2');
    await new DueMover(site.connection, { log }).move(due);
    await site.store.writeRecord('q', 'crash2', { id: 'q.crash2', hop: 1, state: 'completed', attempt: 1, at: {} }, 60_000);
    await site.takeAll('q', 1);
    // A lane made anew remembers no message ids, as after the duplicate window.
    await (await site.connection.admin()).streams.delete(site.connection.names.lane('q', 'normal').stream);
    await site.queue({ name: 'q' });
    site.connection.nak(due);
    await startScheduler();
    await settled();
    expect(await site.depth('q')).toBe(0);
  });

  it('killed between postponement and ack: one timer, one copy', async () => {
    await site.queue({ name: 'tiny', maxDepth: 1 });
    await site.enqueue('tiny', 'first');
    await site.timer('tiny', 'second');
    const due = await takeDue(site.connection, 'second');
    expect((await new DueMover(site.connection, { log }).move(due)).fate).toBe('postponed');
    site.connection.nak(due);
    const fates: Fate[] = [];
    await startScheduler({ onFate: (fate) => fates.push(fate) });
    await eventually('the redelivery is settled', () => fates.includes('known'));
    expect(await site.takeAll('tiny', 1)).toEqual(['first#1']);
    expect(await site.takeAll('tiny', 1)).toEqual(['second#2']);
    await settled();
    expect(await site.depth('tiny')).toBe(0);
  });

  it('a hop that the lane remembers but that is nowhere to be seen is moved again, under the next hop', async () => {
    const { seq } = await site.enqueue('q', 'ghost');
    await deleteMessage(site.connection, site.connection.names.lane('q', 'normal').stream, seq);
    await site.timer('q', 'ghost');
    await startScheduler();
    await settled();
    expect(await site.takeAll('q', 1)).toEqual(['ghost#2']);
  });

  it('postpones for a full lane; the timers of other queues are not delayed', async () => {
    await site.queue({ name: 'full', maxDepth: 5 });
    for (let i = 0; i < 5; i++) await site.enqueue('full', `block${i}`);
    const fates = new Set<Fate>();
    await startScheduler({ onFate: (fate) => fates.add(fate) });
    const [wanted, free] = [1000, 200];
    await Promise.all(Array.from({ length: wanted }, (_, i) => site.timer('full', `wait${i}`)));
    await Promise.all(Array.from({ length: free }, (_, i) => site.timer('q', `free${i}`)));
    await eventually('the others have landed', async () => (await site.depth('q')) === free);
    expect(await site.depth('full')).toBe(5);
    expect(fates.has('postponed')).toBe(true);
    await site.takeAll('q', free);
    await site.queue({ name: 'full', maxDepth: 10_000 });
    await eventually('all landed in the end', async () => (await site.depth('full')) === wanted + 5, 30_000);
    await settled();
    expect(new Set((await site.takeAll('full', wanted + 5)).map((id) => id.split('#')[0])).size).toBe(wanted + 5);
  });

  it('gives tasks of unknown queues a new timer, at once, and says so once', async () => {
    let postponed = 0;
    await startScheduler({ onFate: (fate) => (postponed += fate === 'postponed' ? 1 : 0) });
    await Promise.all(Array.from({ length: 100 }, (_, i) => site.timer(`nowhere${i % 10}`, `lost${i}`)));
    await eventually('all have a new timer', () => postponed === 100);
    const timer = await leaderGet(site.connection, site.connection.names.schedules, site.connection.names.timer('nowhere9', 'lost99'));
    expect(hopOf(timer!)).toBe(2);
    expect(await site.messages(site.connection.names.schedules)).toBe(100);
    expect(log.lines.filter(({ event }) => event === 'due:unknown-queue')).toHaveLength(1);
  });

  it('makes dead letters of the due tasks of a deleted queue; a queue that is only not provisioned yet keeps them', async () => {
    const queues = await openQueueBucket(site.connection);
    await queues.put('pending', { name: 'pending' });
    const fates: [Fate, string][] = [];
    await startScheduler({ unknownQueueMs: 0, onFate: (fate, queue) => fates.push([fate, queue]) });
    await site.timer('deleted', 'orphan', { hop: 2, body: '{"kept":true}' });
    await site.timer('pending', 'patient');
    await eventually('both are dealt with', () => fates.length === 2);
    expect(fates.sort()).toEqual([
      ['dead', 'deleted'],
      ['postponed', 'pending'],
    ]);
    const letter = await site.dead('deleted', 'orphan');
    expect(new TextDecoder().decode(letter?.data)).toBe('{"kept":true}');
    expect(Object.fromEntries(letter?.headers ?? [])).toMatchObject({
      'Task-Dead-Reason': 'unknown-queue',
      'Task-Dead-Lane': 'normal',
      'Task-Hop': '2',
    });
    // Whoever waits for the result is told.
    expect((await site.store.record('deleted', 'orphan')).record).toMatchObject({ state: 'dead', hop: 2, reason: 'unknown-queue' });
    expect(await site.messages(site.connection.names.schedules)).toBe(1);
  });

  it('keeps what names no task as a dead letter, and buries what is too large', async () => {
    await site.queue({ name: 'small', maxPayload: 10 });
    const fates: Fate[] = [];
    await startScheduler({ onFate: (fate) => fates.push(fate) });
    await site.connection.publish(site.connection.names.pattern('due.small.urgent.k'), new Uint8Array(1));
    await site.timer('small', 'huge', { body: JSON.stringify('x'.repeat(70_000)) });
    await settled();
    expect(fates.sort()).toEqual(['dead', 'malformed']);
    const { names } = site.connection;
    const kept = await directGet(site.connection, names.deadLetters, names.pattern('dead._malformed.*'));
    expect(Object.fromEntries(kept?.headers ?? [])).toMatchObject({ 'Task-Dead-Reason': 'invalid-argument' });
    expect(kept?.data).toEqual(Buffer.from([0]));
    expect(Object.fromEntries((await site.dead('small', 'huge'))?.headers ?? [])).toMatchObject({
      'Task-Dead-Reason': 'payload-too-large',
      'Task-Type': 'noop',
    });
  });

  it('makes its consumer again when somebody deleted it, and goes on', async () => {
    const scheduler = await startScheduler();
    const { names } = site.connection;
    await (await site.connection.admin()).consumers.delete(names.schedules, names.schedulerConsumer);
    await site.timer('q', 'after-delete');
    await eventually('the consumer is made again', async () => (await site.inLane('q', 'after-delete')) !== undefined);
    await eventually('healthy', () => scheduler.health().up);
    await site.takeAll('q', 1);
  });

  it('8,000 timers due at once all land once', async () => {
    await Promise.all([startScheduler(), startScheduler()]);
    const count = 8000;
    const at = Date.now() + 1500;
    await Promise.all(Array.from({ length: count }, (_, i) => site.timer('q', `bulk${i}`, { at, lane: LANES[i % 4] })));
    await eventually('all have landed', async () => (await site.depth('q')) >= count, 30_000);
    await settled();
    const taken = await site.takeAll('q', count);
    expect(new Set(taken).size).toBe(count);
    expect(taken.length).toBe(count);
  });
});
