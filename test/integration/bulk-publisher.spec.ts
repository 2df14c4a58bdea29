import { type Connection, type PubAck, Publication, provisionBase } from '@jetlane/jetstream';
import { encodeHeaders } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker, makeStream, storedSubjects } from '../support/broker.js';
import { eventually } from '../support/wait-until.js';

let broker: Broker;
let connection: Connection;

beforeAll(async () => {
  broker = await Broker.start('bulk');
  connection = await broker.connect();
});
afterAll(() => broker.stop());

/** Keeps what it is told. */
class Told extends Publication {
  readonly acks: PubAck[] = [];
  readonly errors: Error[] = [];

  confirmed(ack: PubAck): void {
    this.acks.push(ack);
  }

  refused(error: Error): void {
    this.errors.push(error);
  }
}

/** Posts in one turn, into the stream that is named as the first token of the subjects. */
function postAll(link: Connection, count: number, subject: (i: number) => string, data: (i: number) => string, headers?: string): Told[] {
  const told = Array.from({ length: count }, (_, i) => new Told(subject(i), data(i), headers));
  const { names } = link;
  const stream = subject(0).startsWith(names.pattern('states.')) ? names.taskStates : subject(0).split('.')[0]!;
  for (const publication of told) link.bulkStream(stream).post(publication);
  return told;
}

const heard = ({ acks, errors }: Told): number => acks.length + errors.length;
const allHeard = (told: Told[]) => eventually('all have heard', () => told.every((one) => heard(one) > 0));
const received = (link: Connection): number => link.raw().stats().inMsgs;

describe('records of one turn', () => {
  it('are stored as one batch that is confirmed once, in their order', async () => {
    await makeStream(connection, 'one', ['one.>'], { allow_batched: true });
    const before = received(connection);
    const told = postAll(
      connection,
      100,
      (i) => `one.${i}`,
      (i) => `body ${i}`,
    );
    await allHeard(told);
    expect(told.every(({ acks, errors }) => acks.length === 1 && errors.length === 0)).toBe(true);
    expect(received(connection) - before).toBeLessThan(5);
    const { streams } = await connection.admin();
    for (const i of [0, 1, 57, 99]) {
      const stored = await streams.getMessage('one', { seq: i + 1 });
      expect([stored!.subject, stored!.string()]).toEqual([`one.${i}`, `body ${i}`]);
    }
  });

  it('few of them go one by one, many in several batches', async () => {
    await makeStream(connection, 'size', ['size.>'], { allow_batched: true });
    const few = postAll(connection, 3, (i) => `size.few.${i}`, String);
    await allHeard(few);
    expect(few.map(({ acks }) => acks[0]!.seq)).toEqual([1, 2, 3]);
    const many = postAll(connection, 1000, (i) => `size.many.${i}`, String);
    await allHeard(many);
    expect(Object.keys(await storedSubjects(connection, 'size'))).toHaveLength(1003);
  });

  it('go as one batch also when every turn brings one, as requests on new connections do', async () => {
    await makeStream(connection, 'turns', ['turns.>'], { allow_batched: true });
    let rounds = 0;
    // One by one they would be confirmed eight times. Turns that take long cut a batch in two, on a busy machine: not always.
    await eventually('eight messages are confirmed together', async () => {
      const before = received(connection);
      const told: Told[] = [];
      for (let i = 0; i < 8; i++) {
        told.push(...postAll(connection, 1, () => `turns.${rounds}.${i}`, String));
        await new Promise((resolve) => setImmediate(resolve));
      }
      await allHeard(told);
      rounds++;
      return received(connection) - before < 8;
    });
    expect(Object.keys(await storedSubjects(connection, 'turns'))).toHaveLength(8 * rounds);
  });

  it('keep their headers: a time to live is honoured in a batch', async () => {
    const { names } = connection;
    await provisionBase(connection);
    const ttl = 'NATS/1.0\r\nNats-TTL: 1s\r\n\r\n';
    await allHeard(
      postAll(
        connection,
        20,
        (i) => names.state('q', `k${i}`),
        () => '{}',
        ttl,
      ),
    );
    expect(Object.keys(await storedSubjects(connection, names.taskStates))).toHaveLength(20);
    await eventually('they expire', async () => Object.keys(await storedSubjects(connection, names.taskStates)).length === 0);
  });
});

describe('a batch that fails goes one by one', () => {
  it('on a stream that takes no batches; the next ones are not even tried for a while', async () => {
    await makeStream(connection, 'plain', ['plain.>']);
    const first = postAll(connection, 50, (i) => `plain.a${i}`, String);
    await allHeard(first);
    const second = postAll(connection, 50, (i) => `plain.b${i}`, String);
    await allHeard(second);
    expect([...first, ...second].every(({ acks }) => acks.length === 1)).toBe(true);
    expect(second.map(({ acks }) => acks[0]!.seq)).toEqual(Array.from({ length: 50 }, (_, i) => 51 + i));
  });

  it('and each message hears its own end: one is too large, the others are stored', async () => {
    const link = await broker.connect();
    await makeStream(link, 'large', ['large.>'], { allow_batched: true, max_msg_size: 1000 });
    const told = postAll(
      link,
      20,
      (i) => `large.${i}`,
      (i) => (i === 7 ? 'x'.repeat(2000) : 'small'),
    );
    await allHeard(told);
    expect(told.map(({ errors }) => errors.length)).toEqual(told.map((_, i) => (i === 7 ? 1 : 0)));
    expect(told[7]!.errors[0]).toMatchObject({ code: 'payload-too-large' });
    expect(Object.keys(await storedSubjects(link, 'large'))).toHaveLength(19);
  });

  it('when it is larger than the server takes at all', async () => {
    const link = await broker.connect();
    await makeStream(link, 'huge', ['huge.>'], { allow_batched: true });
    const told = postAll(
      link,
      20,
      (i) => `huge.${i}`,
      (i) => (i === 12 ? 'x'.repeat(9_000_000) : 'small'),
    );
    await allHeard(told);
    expect(told.map(({ errors }) => errors.length)).toEqual(told.map((_, i) => (i === 12 ? 1 : 0)));
    expect(Object.keys(await storedSubjects(link, 'huge'))).toHaveLength(19);
  });

  it('for a message id that is known: stored once, confirmed to both', async () => {
    await makeStream(connection, 'known', ['known.>'], { allow_batched: true });
    const id = new TextDecoder().decode(encodeHeaders([['Nats-Msg-Id', 'same']]));
    const told = postAll(connection, 10, () => 'known.same', String, id);
    await allHeard(told);
    expect(told.every(({ acks }) => acks.length === 1)).toBe(true);
    expect(await storedSubjects(connection, 'known')).toEqual({ 'known.same': 1 });
  });

  it('over a link that breaks: every message is stored in the end, and each hears once', async () => {
    const own = await Broker.start('bulk');
    const link = await own.connect();
    await makeStream(link, 'crash', ['crash.>'], { allow_batched: true, max_msgs_per_subject: 1 });
    const told: Told[] = [];
    let turn = 0;
    const load = setInterval(() => told.push(...postAll(link, 100, (i) => `crash.${turn}.${i}`, String)), 5);
    await eventually('load runs', () => ++turn > 20 && told.some(({ acks }) => acks.length > 0));
    await own.crash();
    await eventually('load runs again', () => ++turn > 60 && link.state === 'connected');
    clearInterval(load);
    await allHeard(told);
    expect(told.filter(({ acks, errors }) => acks.length !== 1 || errors.length > 0)).toEqual([]);
    const stored = await storedSubjects(link, 'crash');
    expect(told.filter(({ subject }) => stored[subject] === undefined)).toEqual([]);
    await own.stop();
  });
});

it('close() waits for the batches that are under way', async () => {
  const link = await broker.connect();
  await makeStream(link, 'end', ['end.>'], { allow_batched: true });
  const told = postAll(link, 500, (i) => `end.${i}`, String);
  await link.close();
  expect(told.every(({ acks }) => acks.length === 1)).toBe(true);
});
