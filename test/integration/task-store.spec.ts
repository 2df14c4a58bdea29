import {
  type Connection,
  deleteMessage,
  deleteSubject,
  directGet,
  directGetNext,
  directGetSequence,
  leaderGet,
  leaderGetSequence,
  provisionBase,
  provisionQueue,
  TaskStore,
} from '@jetlane/jetstream';
import { encodeHeaders, type HeaderPair, headerValue, type StateRecord, WrongSequenceError } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker, bytes } from '../support/broker.js';
import { eventually, rejection } from '../support/wait-until.js';

let broker: Broker;
let connection: Connection;
let store: TaskStore;

beforeAll(async () => {
  broker = await Broker.start('store');
  connection = await broker.connect();
  await provisionBase(connection);
  await provisionQueue(connection, { name: 'q' });
  store = new TaskStore(connection);
});
afterAll(() => broker.stop());

const record = (key: string, fields: Partial<StateRecord> = {}): StateRecord => ({
  id: `q.${key}`,
  hop: 1,
  state: 'queued',
  attempt: 1,
  at: { created: 1 },
  ...fields,
});
const timer = (key: string, hop: number, at = Date.now() + 3_600_000, headers: HeaderPair[] = []) =>
  store.setTimer({ queue: 'q', lane: 'high', key, at, hop, attempt: hop, headers, data: bytes(`hop ${hop}`) });

describe('records', () => {
  it('are written by compare-and-set: of many that saw the same, one wins', async () => {
    const tries = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) => store.writeRecord('q', 'cas', record('cas', { claim: String(i) }), 60_000, 0)),
    );
    const won = tries.flatMap((result, i) => (result.status === 'fulfilled' ? [i] : []));
    expect(won).toHaveLength(1);
    for (const result of tries) if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(WrongSequenceError);
    const { record: stands, sequence } = await store.record('q', 'cas', leaderGet);
    expect(stands?.claim).toBe(String(won[0]));
    await store.writeRecord('q', 'cas', record('cas', { state: 'completed' }), 60_000, sequence);
    expect(await rejection(store.writeRecord('q', 'cas', record('cas'), 60_000, sequence))).toBeInstanceOf(WrongSequenceError);
    expect((await store.record('q', 'cas')).record?.state).toBe('completed');
  });

  it('expire, and a new one may then be created', async () => {
    await store.writeRecord('q', 'ttl', record('ttl'), 1000, 0);
    await eventually('the record expires', async () => (await store.record('q', 'ttl')).sequence === 0);
    await store.writeRecord('q', 'ttl', record('ttl'), 1000, 0);
  });

  it('what is no record reads as none, but its sequence is told', async () => {
    const { seq } = await connection.publish(connection.names.state('q', 'garbage'), bytes('not a record'));
    expect(await store.record('q', 'garbage')).toEqual({ sequence: seq });
    expect(await store.record('q', 'nothing')).toEqual({ sequence: 0 });
  });
});

describe('timers', () => {
  it('give way to a higher hop only', async () => {
    expect(await timer('hops', 2)).toBe(true);
    expect([await timer('hops', 2), await timer('hops', 1)]).toEqual([false, false]);
    expect(await timer('hops', 5)).toBe(true);
    expect(await timer('hops', 4)).toBe(false);
    const stands = await leaderGet(connection, connection.names.schedules, connection.names.timer('q', 'hops'));
    expect(new TextDecoder().decode(stands!.data)).toBe('hop 5');
    expect(headerValue(stands!.headers, 'Task-Attempt')).toBe('5');
  });

  it('set by many at once, the highest hop stands', async () => {
    await Promise.all(Array.from({ length: 6 }, (_, i) => timer('race', i + 1).catch(() => false)));
    const stands = await leaderGet(connection, connection.names.schedules, connection.names.timer('q', 'race'));
    expect(new TextDecoder().decode(stands!.data)).toBe('hop 6');
  });

  it('fire into the subject of their lane, and may then be set anew', async () => {
    await timer('fires', 1, Date.now() - 1000, [['Task-Type', 'mail']]);
    const due = connection.names.due('q', 'high', 'fires');
    await eventually('it fires', async () => (await leaderGet(connection, connection.names.schedules, due)) !== undefined);
    const fired = await leaderGet(connection, connection.names.schedules, due);
    expect(headerValue(fired!.headers, 'Task-Type')).toBe('mail');
    expect((await store.traces('q', 'fires')).copies).toMatchObject([{ place: 'due', hop: 1 }]);
    expect(await timer('fires', 1)).toBe(true);
  });
});

/** Every header that the server gives, or acts on, with a value that would do harm when it is published again. */
const SERVER_HEADERS: HeaderPair[] = [
  ['Nats-Msg-Id', 'old#1'],
  ['Nats-Expected-Stream', 'elsewhere'],
  ['Nats-Expected-Last-Sequence', '9'],
  ['Nats-Expected-Last-Subject-Sequence', '9'],
  ['Nats-Expected-Last-Msg-Id', 'x'],
  ['Nats-Rollup', 'all'],
  ['Nats-TTL', '1s'],
  ['Nats-Schedule', '@at 2020-01-01T00:00:00Z'],
  ['Nats-Schedule-Target', 'x'],
  ['Nats-Scheduler', 'x'],
  ['Nats-Schedule-Next', 'purge'],
  ['Nats-Batch-Id', 'b'],
  ['Nats-Batch-Sequence', '1'],
  ['Nats-Stream-Source', 's 1'],
  ['Nats-Stream', 's'],
  ['Nats-Subject', 'x'],
  ['Nats-Sequence', '1'],
  ['Nats-Time-Stamp', 'x'],
  ['Nats-Num-Pending', '1'],
  ['Nats-Incr', '1'],
  ['Nats-Trace-Dest', 'x'],
  ['nats-marker-reason', 'MaxAge'],
];
const OWN: HeaderPair[] = [
  ['Task-Type', 'mail'],
  ['traceparent', '00-a-b-01'],
  ['X-Custom', 'kept'],
];

describe('header hygiene', () => {
  const clean = (headers: readonly HeaderPair[], allowed: readonly string[] = []) => {
    const given = [
      'Nats-Stream',
      'Nats-Subject',
      'Nats-Sequence',
      'Nats-Time-Stamp',
      'Nats-Num-Pending',
      'Nats-Last-Sequence',
      'Nats-UpTo-Sequence',
      ...allowed,
    ];
    expect(headers.filter(([name]) => /^nats-/i.test(name) && !given.includes(name))).toEqual([]);
    expect(headers).toEqual(expect.arrayContaining(OWN));
  };

  it('a task, a timer and a dead letter are published again without the server’s headers', async () => {
    const task = { headers: [...SERVER_HEADERS, ...OWN], data: bytes('payload'), hop: 3 };
    expect((await store.publishTask('q', 'low', 'clean', task)).duplicate).toBeUndefined();
    await store.setTimer({ queue: 'q', lane: 'low', key: 'clean', at: Date.now() + 3_600_000, attempt: 2, ...task });
    expect((await store.publishDead('q', 'clean', { ...task, extra: { 'Task-Dead-Reason': 'poison' } })).duplicate).toBeUndefined();
    const { copies } = await store.traces('q', 'clean', leaderGet);
    const found = Object.fromEntries(copies.map(({ place, stored }) => [place, stored]));
    clean(found.lane!.headers, ['Nats-Msg-Id']);
    clean(found.timer!.headers, ['Nats-Schedule', 'Nats-Schedule-Target', 'Nats-Rollup', 'Nats-Expected-Last-Subject-Sequence']);
    clean(found.dead!.headers, ['Nats-Msg-Id']);
    expect(headerValue(found.lane!.headers, 'Nats-Msg-Id')).toBe('clean#3');
    expect(headerValue(found.dead!.headers, 'Task-Dead-Reason')).toBe('poison');
    expect(new TextDecoder().decode(found.dead!.data)).toBe('payload');
  });

  it('a producer cannot pass off a sequence, a subject or a status as the server’s', async () => {
    const subject = connection.names.task('q', 'normal', 'liar');
    const block = Buffer.from(
      'NATS/1.0 404 Not Found\r\nNats-Sequence: 1\r\nNats-Subject: store.tasks.q.high.victim\r\nTask-Hop: 1\r\n\r\n',
    );
    const { seq } = await connection.publish(subject, bytes('x'), block);
    for (const read of [directGet, leaderGet]) {
      expect(await read(connection, connection.names.lane('q', 'normal').stream, subject), read.name).toMatchObject({
        subject,
        sequence: seq,
      });
    }
    expect((await store.traces('q', 'liar')).copies).toHaveLength(1);
  });
});

describe('reading back', () => {
  it('traces tell every place of a task, its hops and its record', async () => {
    for (const lane of ['critical', 'low'] as const)
      await store.publishTask('q', lane, 'everywhere', { headers: [], data: bytes('x'), hop: lane === 'low' ? 2 : 7 });
    await store.writeRecord('q', 'everywhere', record('everywhere'), 60_000);
    await timer('everywhere', 4);
    await store.publishDead('q', 'everywhere', { headers: [], data: bytes('x'), hop: 3, extra: {} });
    for (const read of [directGet, leaderGet]) {
      const { record: stands, copies } = await store.traces('q', 'everywhere', read);
      expect(stands?.id).toBe('q.everywhere');
      expect(copies.map(({ place, lane, hop }) => `${place} ${lane ?? ''} ${hop}`)).toEqual([
        'lane critical 7',
        'lane low 2',
        'timer  4',
        'dead  3',
      ]);
    }
    expect(await store.traces('q', 'nowhere')).toEqual({ recordSequence: 0, copies: [] });
  });

  it('by subject, by sequence, the next one; what is missing is undefined, twice deleted is false', async () => {
    const { stream } = connection.names.lane('q', 'critical');
    const subject = connection.names.task('q', 'critical', 'read');
    const { seq } = await connection.publish(subject, bytes('body'), encodeHeaders([['Task-Type', 'é']]));
    const expected = { subject, sequence: seq, headers: expect.arrayContaining([['Task-Type', 'é']]), data: Buffer.from('body') };
    for (const found of [
      await directGet(connection, stream, subject),
      await directGetSequence(connection, stream, seq),
      await directGetNext(connection, stream, 1, subject),
      await leaderGet(connection, stream, subject),
      await leaderGetSequence(connection, stream, seq),
    ]) {
      expect({ ...found, data: Buffer.from(found!.data) }).toMatchObject(expected);
      expect(Math.abs(found!.storedAt - Date.now())).toBeLessThan(60_000);
    }
    expect([await deleteMessage(connection, stream, seq), await deleteMessage(connection, stream, seq)]).toEqual([true, false]);
    for (const found of [
      directGet(connection, stream, subject),
      directGetSequence(connection, stream, seq),
      directGetNext(connection, stream, seq, subject),
      leaderGet(connection, stream, subject),
      leaderGetSequence(connection, stream, seq),
    ])
      expect(await found).toBeUndefined();
    await connection.publish(subject, bytes('1'));
    await connection.publish(subject, bytes('2'));
    expect([await deleteSubject(connection, stream, subject), await deleteSubject(connection, stream, subject)]).toEqual([2, 0]);
  });

  it('a message that the server shows and does not delete is a typed error, and not an endless loop', async () => {
    const { stream } = connection.names.lane('q', 'critical');
    const subject = connection.names.task('q', 'critical', 'stays');
    await connection.publish(subject, bytes('1'));
    const admin = await connection.admin();
    const streams = Object.assign(Object.create(admin.streams) as typeof admin.streams, { deleteMessage: () => Promise.resolve(false) });
    const stubborn = Object.assign(Object.create(connection) as typeof connection, {
      admin: () => Promise.resolve(Object.assign(Object.create(admin) as typeof admin, { streams })),
    });
    await expect(deleteSubject(stubborn, stream, subject)).rejects.toMatchObject({
      code: 'jetstream-api',
      retryable: true,
      details: { stream, subject, deleted: 0 },
    });
    expect(await deleteSubject(connection, stream, subject)).toBe(1);
  });

  it('a message without headers and body is a message', async () => {
    const subject = connection.names.task('q', 'high', 'bare');
    const { seq } = await connection.publish(subject, new Uint8Array(0));
    const { stream } = connection.names.lane('q', 'high');
    expect(await directGet(connection, stream, subject)).toMatchObject({ subject, sequence: seq });
    expect(await leaderGet(connection, stream, subject)).toMatchObject({ subject, sequence: seq, headers: [] });
  });
});
