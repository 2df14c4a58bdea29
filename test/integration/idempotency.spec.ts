import { type NewTask, type Receipt, TaskClient } from '@jetlane/client';
import { deleteMessage } from '@jetlane/jetstream';
import { IdempotencyConflictError, type JetlaneError, type StateRecord } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bytes, storedSubjects } from '../support/broker.js';
import { Installation } from '../support/installation.js';
import { eventually, rejection } from '../support/wait-until.js';

let all: Installation;
let hash: string;
const TASK: NewTask = { type: 'mail', data: { to: 'a' } };

beforeAll(async () => {
  all = await Installation.open('once', { name: 'q' });
  await all.client.enqueue('q', { ...TASK, key: 'probe' });
  hash = (await all.store.record('q', 'probe')).record!.hash!;
});
afterAll(() => all.close());

/** The record that a producer leaves when it dies between its two writes, for the payload of {@link TASK}. */
const half = (key: string): StateRecord => ({
  id: `q.${key}`,
  hop: 1,
  lane: 'normal',
  state: 'accepted',
  attempt: 1,
  at: { created: 1 },
  claim: 'of-the-dead',
  hash,
});
const places = async (key: string): Promise<string[]> =>
  (await all.store.traces('q', key)).copies.map(({ place, hop }) => `${place} ${hop}`);
const enqueue = (key: string, task: NewTask = TASK, client: TaskClient = all.client): Promise<Receipt> =>
  client.enqueue('q', { ...task, key });
const remove = async (key: string): Promise<void> => {
  await (await all.connection.admin()).streams.purge(all.connection.names.lane('q', 'normal').stream, {
    filter: all.connection.names.task('q', 'normal', key),
  });
};

describe('one producer', () => {
  it('writes the record, then the task; the same key and payload again is a duplicate', async () => {
    expect(await enqueue('plain')).toEqual({ id: 'q.plain', queue: 'q', lane: 'normal', state: 'queued', duplicate: false });
    expect(await places('plain')).toEqual(['lane 1']);
    expect((await all.store.record('q', 'plain')).record).toMatchObject({ state: 'accepted', hop: 1, lane: 'normal' });
    expect(await enqueue('plain')).toMatchObject({ id: 'q.plain', state: 'queued', duplicate: true });
    expect(await places('plain')).toEqual(['lane 1']);
  });

  it('answers with the lane of the first task', async () => {
    await enqueue('lane', { ...TASK, lane: 'critical' });
    expect(await enqueue('lane', { ...TASK, lane: 'low' })).toMatchObject({ lane: 'critical', duplicate: true });
  });

  it('another payload, type or media type under the same key is a conflict', async () => {
    await enqueue('conflict');
    for (const other of [
      { type: 'mail', data: { to: 'b' } },
      { type: 'sms', data: { to: 'a' } },
      { type: 'mail', data: bytes('{"to":"a"}'), contentType: 'text/plain' },
    ]) {
      expect(await rejection(enqueue('conflict', other))).toBeInstanceOf(IdempotencyConflictError);
    }
    expect(await places('conflict')).toEqual(['lane 1']);
  });

  it('a finished or cancelled task is the answer as long as its record lives', async () => {
    for (const state of ['completed', 'cancelled', 'dead'] as const) {
      await enqueue(state);
      await remove(state);
      await all.finish(`q.${state}`, { state, hash });
      expect(await enqueue(state)).toMatchObject({ state, duplicate: true });
      expect(await rejection(enqueue(state, { type: 'mail', data: 'other' }))).toBeInstanceOf(IdempotencyConflictError);
      expect(await places(state)).toEqual([]);
    }
  });

  it('a delayed task is one timer, and its record outlives the delay', async () => {
    const delayed: NewTask = { ...TASK, delay: '2d' };
    expect(await enqueue('delayed', delayed)).toMatchObject({ state: 'scheduled', duplicate: false });
    expect(await enqueue('delayed', delayed)).toMatchObject({ state: 'scheduled', duplicate: true });
    // The receipt tells of the first task, whatever is asked for now.
    expect(await enqueue('delayed', TASK)).toMatchObject({ state: 'scheduled', duplicate: true });
    expect(await places('delayed')).toEqual(['timer 1']);
    const { streams } = await all.connection.admin();
    const record = await streams.getMessage(all.connection.names.taskStates, { last_by_subj: all.connection.names.state('q', 'delayed') });
    expect(record?.header.get('Nats-TTL')).toBe(`${3 * 86_400}s`);
  });
});

describe('a producer that dies between its writes', () => {
  it('before the record: nothing happened', async () => {
    expect(await rejection(all.client.status('q.never'))).toMatchObject({ code: 'task-not-found' });
    expect((await enqueue('never')).duplicate).toBe(false);
  });

  it('after the record: the next one under this key publishes the task, once', async () => {
    await all.store.writeRecord('q', 'half', half('half'), 60_000, 0);
    expect(await all.client.status('q.half')).toMatchObject({ state: 'accepted' });
    expect(await enqueue('half')).toMatchObject({ duplicate: true, state: 'queued' });
    expect(await enqueue('half')).toMatchObject({ duplicate: true });
    expect(await places('half')).toEqual(['lane 1']);
  });

  it('after the record of a delayed task: the next one sets the timer', async () => {
    const delayed: NewTask = { ...TASK, delay: '1h' };
    await all.store.writeRecord('q', 'half-delayed', half('half-delayed'), 60_000, 0);
    await Promise.all(Array.from({ length: 5 }, () => enqueue('half-delayed', delayed)));
    expect(await places('half-delayed')).toEqual(['timer 1']);
  });

  it('a conflict is found against the record alone', async () => {
    await all.store.writeRecord('q', 'half-other', half('half-other'), 60_000, 0);
    expect(await rejection(enqueue('half-other', { type: 'mail', data: 'other' }))).toBeInstanceOf(IdempotencyConflictError);
    expect(await places('half-other')).toEqual([]);
  });

  it('a task that has moved on is not published again', async () => {
    for (const [key, set] of [
      [
        'moved-timer',
        () =>
          all.store.setTimer({
            queue: 'q',
            lane: 'normal',
            key: 'moved-timer',
            at: Date.now() + 3_600_000,
            hop: 2,
            attempt: 2,
            headers: [],
            data: bytes('x'),
          }),
      ],
      ['moved-dead', () => all.store.publishDead('q', 'moved-dead', { headers: [], data: bytes('x'), hop: 1, extra: {} })],
      ['moved-lane', () => all.store.publishTask('q', 'low', 'moved-lane', { headers: [], data: bytes('x'), hop: 4 })],
    ] as const) {
      await all.store.writeRecord('q', key, half(key), 60_000, 0);
      await set();
      const before = await places(key);
      expect(await enqueue(key)).toMatchObject({ duplicate: true });
      expect(await places(key)).toEqual(before);
    }
  });

  it('a task that moves from due to its lane while it is looked for is not published again', async () => {
    const key = 'on-its-way';
    const { names } = all.connection;
    await all.store.writeRecord('q', key, half(key), 60_000, 0);
    const due = await all.connection.publish(names.due('q', 'normal', key), bytes('x'));
    const link = await all.broker.connect();
    const request = link.request.bind(link);
    let moved = false;
    // The lanes have been asked when what is due is asked for: now it moves.
    link.request = async (subject, body, ...rest) => {
      if (!moved && subject.endsWith(names.schedules) && String(body).includes('due.')) {
        moved = true;
        await new Promise((resolve) => setTimeout(resolve, 300));
        await all.store.publishTask('q', 'normal', key, { headers: [], data: bytes('x'), hop: 2 });
        await deleteMessage(all.connection, names.schedules, due.seq);
      }
      return request(subject, body, ...rest);
    };
    expect(await enqueue(key, TASK, new TaskClient(link))).toMatchObject({ duplicate: true });
    expect([moved, await places(key)]).toEqual([true, ['lane 2']]);
  });

  it('what stands there and is no record gives way', async () => {
    await all.connection.publish(all.connection.names.state('q', 'garbage'), bytes('not a record'));
    expect(await enqueue('garbage')).toMatchObject({ duplicate: false });
    expect(await places('garbage')).toEqual(['lane 1']);
  });
});

describe('many producers', () => {
  it('twenty with one key at once: one task, one that is not a duplicate', async () => {
    const producers = await Promise.all(Array.from({ length: 20 }, () => all.producer()));
    for (const round of [1, 2, 3]) {
      const receipts = await Promise.all(producers.map((producer) => enqueue(`race-${round}`, TASK, producer)));
      expect(receipts.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
      expect(await places(`race-${round}`)).toEqual(['lane 1']);
    }
    expect(
      (await storedSubjects(all.connection, all.connection.names.lane('q', 'normal').stream))[
        all.connection.names.task('q', 'normal', 'race-1')
      ],
    ).toBe(1);
  });

  it('twenty with one key and different payloads: one task, nineteen conflicts', async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, (_, n) => enqueue('quarrel', { type: 'mail', data: n })));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(IdempotencyConflictError);
    expect(await places('quarrel')).toEqual(['lane 1']);
  });

  it('a server killed meanwhile: whoever repeats under the same key gets one task', async () => {
    const own = await Installation.open('once', { name: 'q' });
    const codes = new Set<string>();
    let done = 0;
    const persistent = async (n: number): Promise<void> => {
      for (;;) {
        try {
          await own.client.enqueue('q', { type: 'mail', data: n, key: `k${n}` });
          done++;
          return;
        } catch (error) {
          codes.add((error as JetlaneError).code);
          await own.connection.whenConnected();
        }
      }
    };
    const tasks = Array.from({ length: 3000 }, (_, n) => n);
    const workers = Array.from({ length: 100 }, async () => {
      for (let n = tasks.shift(); n !== undefined; n = tasks.shift()) await persistent(n);
    });
    await eventually('tasks flow', () => done > 300);
    await own.broker.crash();
    await Promise.all(workers);
    const stored = await storedSubjects(own.connection, own.connection.names.lane('q', 'normal').stream);
    expect([Object.keys(stored).length, Math.max(...Object.values(stored))]).toEqual([3000, 1]);
    for (const code of codes)
      expect(['not-connected', 'request-timeout', 'publish-timeout', 'no-responders', 'jetstream-api']).toContain(code);
    await own.close();
  });
});
