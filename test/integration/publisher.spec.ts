import { type Connection, type PubAck } from '@jetlane/jetstream';
import { encodeHeaders, JetlaneError, QueueFullError, WrongSequenceError } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker, bytes, makeStream, storedSubjects } from '../support/broker.js';
import { eventually, holdsFor, rejection } from '../support/wait-until.js';

let broker: Broker;
let connection: Connection;

beforeAll(async () => {
  broker = await Broker.start('pub');
  connection = await broker.connect();
});
afterAll(() => broker.stop());

const withId = (id: string) => encodeHeaders([['Nats-Msg-Id', id]]);
const expecting = (sequence: number) => encodeHeaders([['Nats-Expected-Last-Subject-Sequence', String(sequence)]]);

describe('window and order', () => {
  it('never has more outstanding than its window, and stores in the order of the calls', async () => {
    const link = await broker.connect({ publishWindow: 16 });
    await makeStream(link, 'window', ['window.*']);
    let most = 0;
    const acks: Promise<PubAck>[] = [];
    for (let i = 0; i < 200; i++) {
      acks.push(link.publish(`window.${i}`, bytes('x')));
      most = Math.max(most, link.publisher.pending);
    }
    const look = () => {
      most = Math.max(most, link.publisher.pending);
    };
    const watch = acks.map((ack) => ack.then(look));
    expect(link.publisher.queued).toBe(184);
    expect((await Promise.all(acks)).map(({ seq }) => seq)).toEqual(acks.map((_, i) => i + 1));
    await Promise.all(watch);
    expect(most).toBe(16);
    expect(link.publisher).toMatchObject({ pending: 0, queued: 0, full: false });
  });

  it('room() holds a producer back until the server confirms', async () => {
    const link = await broker.connect({ publishWindow: 32 });
    await makeStream(link, 'room', ['room']);
    let most = 0;
    const acks: Promise<PubAck>[] = [];
    for (let i = 0; i < 2000; i++) {
      if (link.publisher.full) await link.publisher.room();
      acks.push(link.publish('room', bytes(String(i))));
      most = Math.max(most, link.publisher.pending + link.publisher.queued);
    }
    expect(new Set((await Promise.all(acks)).map(({ seq }) => seq)).size).toBe(2000);
    expect(most).toBeLessThanOrEqual(32);
  });

  it('large payloads are bounded by their bytes, long before the window', async () => {
    const link = await broker.connect();
    await makeStream(link, 'large', ['large'], { max_msgs: 1, discard: 'old' });
    const payload = new Uint8Array(512 * 1024);
    let most = 0;
    const acks: Promise<PubAck>[] = [];
    for (let i = 0; i < 200; i++) {
      acks.push(link.publish('large', payload));
      most = Math.max(most, link.publisher.pending);
    }
    expect([most, link.publisher.queued, link.publisher.full]).toEqual([128, 72, true]);
    expect((await Promise.all(acks)).at(-1)!.seq).toBe(200);
    expect(link.publisher.full).toBe(false);
  });

  it('refuses at once when too many wait, and stores all that it took when the server is back', async () => {
    const link = await broker.connect({ publishWindow: 2 });
    await makeStream(link, 'overload', ['overload.*']);
    broker.server.kill('SIGSTOP');
    const taken = Array.from({ length: 34 }, (_, i) => link.publish(`overload.${i}`, bytes('x'), withId(`o${i}`)));
    const refused = await rejection(link.publish('overload.34', bytes('x'))).finally(() => broker.server.kill('SIGCONT'));
    expect(refused).toMatchObject({ code: 'publisher-overloaded', retryable: true });
    await Promise.all(taken);
    expect(Object.values(await storedSubjects(link, 'overload'))).toEqual(Array(34).fill(1));
  });
});

describe('answers', () => {
  it('waits for a stream that comes later', async () => {
    const ack = connection.publish('later', bytes('x'), withId('later'));
    await holdsFor('unanswered publish is kept', 300, () => connection.publisher.pending === 1);
    await makeStream(connection, 'later', ['later']);
    expect(await ack).toEqual({ seq: 1 });
  });

  it('is sent again when whoever got it falls silent, over a link that stays up', async () => {
    const deaf = connection.subscribe('silent', () => undefined);
    await connection.flush();
    const ack = connection.publish('silent', bytes('x'), withId('once'));
    await connection.flush();
    deaf();
    await makeStream(connection, 'silent', ['silent']);
    expect(await ack).toEqual({ seq: 1 });
  });

  it('says after the deadline that no stream listens, or that the outcome is unknown', async () => {
    const link = await broker.connect({ publishTimeoutMs: 400 });
    expect(await rejection(link.publish('nobody', bytes('x')))).toMatchObject({
      code: 'no-responders',
      retryable: true,
      details: { subject: 'nobody' },
    });
    await makeStream(link, 'frozen', ['frozen']);
    broker.server.kill('SIGSTOP');
    const mute = () =>
      link.request('$JS.API.INFO', '', 100).then(
        () => false,
        () => true,
      );
    await eventually('the server stands still', mute);
    const error = await rejection(link.publish('frozen', bytes('x'))).finally(() => broker.server.kill('SIGCONT'));
    expect(error).toMatchObject({ code: 'publish-timeout', retryable: true });
    expect(link.publisher.pending).toBe(0);
  });

  it('a process that stood still for longer than the deadline reads first what the server said meanwhile', async () => {
    const link = await broker.connect({ publishTimeoutMs: 1500 });
    await makeStream(link, 'stood', ['stood']);
    broker.server.kill('SIGSTOP');
    const ack = link.publish('stood', bytes('x'));
    // Timers, such as the one that looks at the deadline, come behind immediates, and before anything is read again.
    const standStill = () => {
      broker.server.kill('SIGCONT');
      const end = performance.now() + 2000;
      while (performance.now() < end);
    };
    setTimeout(() => setImmediate(standStill), 60);
    expect(await ack).toEqual({ seq: 1 });
  });

  it('a full stream, a lost compare-and-set and a message too large have errors of their own', async () => {
    await makeStream(connection, 'pub_tasks_q_low', ['pub.tasks.q.low.*'], { max_msgs: 1, discard: 'new', max_msg_size: 100 });
    const subject = 'pub.tasks.q.low.k';
    await connection.publish(subject, bytes('x'));
    const full = await rejection(connection.publish(subject, bytes('y')));
    expect(full).toBeInstanceOf(QueueFullError);
    expect(full).toMatchObject({ code: 'queue-full', retryable: true, details: { queue: 'q' } });
    expect(await rejection(connection.publish(subject, bytes('y'), expecting(7)))).toBeInstanceOf(WrongSequenceError);
    const { streams } = await connection.admin();
    await streams.purge('pub_tasks_q_low');
    expect(await rejection(connection.publish(subject, new Uint8Array(200)))).toMatchObject({
      code: 'payload-too-large',
      retryable: false,
    });
    expect((await connection.publish(subject, bytes('z'))).seq).toBe(2);
  });

  it('a message beyond the server’s own limit is refused before it is sent, and the link lives on', async () => {
    const epoch = connection.epoch;
    const error = await rejection(connection.publish('later', new Uint8Array(connection.raw().info!.max_payload), withId('big')));
    expect(error).toMatchObject({ code: 'payload-too-large' });
    expect(await rejection(connection.publish('has space', bytes('x')))).toMatchObject({ code: 'publish-refused' });
    await connection.flush();
    expect([connection.epoch, connection.publisher.pending]).toEqual([epoch, 0]);
  });

  it('says when the id was seen before', async () => {
    const first = await connection.publish('later', bytes('x'), withId('twice'));
    expect(first.duplicate).toBeUndefined();
    expect(await connection.publish('later', bytes('x'), withId('twice'))).toMatchObject({ seq: first.seq, duplicate: true });
  });

  it('takes nobody’s reply but a stream’s for a confirmation', async () => {
    for (const [subject, reply] of [
      ['echo.a', '{}'],
      ['echo.b', 'ok'],
      ['echo.c', 'null'],
      ['echo.d', '{"seq":"1"}'],
    ] as const) {
      const stop = connection.subscribe(subject, (message) => void connection.send(message.reply, reply));
      await connection.flush();
      expect(await rejection(connection.publish(subject, bytes('x'))), reply).toMatchObject({ code: 'publish-refused' });
      stop();
    }
  });
});

describe('a link that breaks', () => {
  it('what is published meanwhile is stored after the reconnect, once', async () => {
    const own = await Broker.start('pub');
    const link = await own.connect({ pingIntervalMs: 500 });
    await makeStream(link, 'down', ['down.*']);
    own.server.kill('SIGKILL');
    await eventually('link is down', () => link.state === 'reconnecting');
    const acks = Array.from({ length: 50 }, (_, i) => link.publish(`down.${i}`, bytes('x'), withId(`d${i}`)));
    await own.server.exited;
    await own.server.start();
    await Promise.all(acks);
    expect(Object.values(await storedSubjects(link, 'down'))).toEqual(Array(50).fill(1));
    await own.stop();
  });

  it('a server killed twice under load: what resolved is stored exactly once, what did not is reported', async () => {
    const own = await Broker.start('pub');
    const link = await own.connect({ publishWindow: 512, publishTimeoutMs: 20_000 });
    await makeStream(link, 'load', ['load.*']);
    const resolved: number[] = [];
    const rejected: unknown[] = [];
    let sent = 0;
    let stop = false;
    const producer = (async () => {
      while (!stop) {
        const id = sent++;
        link.publish(`load.${id}`, bytes('x'.repeat(100)), withId(`l${id}`)).then(
          () => resolved.push(id),
          (error: unknown) => rejected.push(error),
        );
        if (link.publisher.full) await link.publisher.room();
      }
    })();
    for (let kills = 1; kills <= 2; kills++) {
      const before = resolved.length;
      await eventually('load flows', () => resolved.length > before + 1500);
      await own.crash();
    }
    const before = resolved.length;
    await eventually('load flows again', () => link.epoch > 2 && resolved.length > before + 1500);
    stop = true;
    await producer;
    await eventually('everything is answered', () => resolved.length + rejected.length === sent);
    const stored = await storedSubjects(link, 'load');
    expect(resolved.filter((id) => stored[`load.${id}`] !== 1)).toEqual([]);
    expect(Object.values(stored).filter((count) => count !== 1)).toEqual([]);
    for (const error of rejected) expect((error as JetlaneError).code).toBe('publish-timeout');
    await own.stop();
  });

  it('close() rejects what is outstanding, and everything after', async () => {
    const own = await Broker.start('pub');
    const link = await own.connect({ publishWindow: 4 });
    await makeStream(link, 'closing', ['closing']);
    own.server.kill('SIGKILL');
    await eventually('link is down', () => link.state === 'reconnecting');
    const outstanding = Array.from({ length: 10 }, () => rejection(link.publish('closing', bytes('x'))));
    await link.close();
    for (const error of await Promise.all(outstanding)) expect(error).toMatchObject({ code: 'connection-closed' });
    expect(await rejection(link.publish('closing', bytes('x')))).toMatchObject({ code: 'connection-closed' });
    await link.publisher.room();
    await own.stop();
  });

  it('close() waits for confirmations that are under way', async () => {
    const link = await broker.connect();
    await makeStream(link, 'parting', ['parting']);
    const acks = Array.from({ length: 500 }, () => link.publish('parting', bytes('x')));
    await link.close();
    expect(await Promise.all(acks)).toHaveLength(500);
  });
});
