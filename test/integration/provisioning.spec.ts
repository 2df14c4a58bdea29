import { spawn } from 'node:child_process';
import {
  type Connection,
  checkServer,
  connect,
  ensureQueue,
  provisionBase,
  provisionQueue,
  REQUIRED_API_LEVEL,
  removeBase,
  removeQueue,
} from '@jetlane/jetstream';
import { LANES, type QueueDefinition } from '@jetlane/protocol';
import { freePort, resolveNatsServer } from '@jetlane/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker, bytes, makeStream } from '../support/broker.js';
import { rejection } from '../support/wait-until.js';

let broker: Broker;
let connection: Connection;

beforeAll(async () => {
  broker = await Broker.start('prov');
  connection = await broker.connect();
});
afterAll(() => broker.stop());

const streamInfo = async (name: string) => (await connection.admin()).streams.info(name);
const laneConsumer = async (queue: string) => {
  const { stream, consumer } = connection.names.lane(queue, 'normal');
  return (await (await connection.admin()).consumers.info(stream, consumer)).config;
};
const laneConfig = async (queue: string) => (await streamInfo(connection.names.lane(queue, 'normal').stream)).config;

describe('provisioning', () => {
  it('may be done by five processes at once, and again, and changes nothing the second time', async () => {
    const links = await Promise.all(Array.from({ length: 5 }, () => broker.connect()));
    const all = () => Promise.all(links.map(async (link) => provisionBase(link).then(() => provisionQueue(link, { name: 'five' }))));
    await all();
    const before = await streamInfo(connection.names.lane('five', 'low').stream);
    await connection.publish(connection.names.task('five', 'normal', 'k'), bytes('x'));
    await all();
    expect((await streamInfo(connection.names.lane('five', 'low').stream)).created).toBe(before.created);
    expect((await streamInfo(connection.names.lane('five', 'normal').stream)).state.messages).toBe(1);
    const { schedules, taskStates, deadLetters, advisories, metrics } = connection.names;
    for (const name of [schedules, taskStates, deadLetters, advisories, metrics]) expect((await streamInfo(name)).config.name).toBe(name);
  });

  it('five processes that define one queue differently agree on the first definition', async () => {
    const links = await Promise.all(Array.from({ length: 5 }, () => broker.connect()));
    const held = await Promise.all(links.map((link, i) => ensureQueue(link, { name: 'agreed', maxDepth: 100 + i })));
    expect(new Set(held.map(({ maxDepth }) => maxDepth)).size).toBe(1);
    expect((await laneConfig('agreed')).max_msgs).toBe(held[0]!.maxDepth);
  });

  it('changed limits are taken over while tasks wait', async () => {
    await provisionQueue(connection, { name: 'limits', maxDepth: 10, lease: '5s', maxDeliveries: 6 });
    await connection.publish(connection.names.task('limits', 'normal', 'k'), bytes('x'));
    await provisionQueue(connection, {
      name: 'limits',
      maxDepth: 20,
      maxBytes: 1_000_000,
      maxPayload: 1000,
      lease: '7s',
      maxDeliveries: 8,
    });
    expect(await laneConfig('limits')).toMatchObject({ max_msgs: 20, max_bytes: 1_000_000, max_msg_size: 66_536 });
    expect(await laneConsumer('limits')).toMatchObject({ ack_wait: 7e9, max_deliver: 8 });
    expect((await laneConsumer('limits')).backoff?.[0]).toBe(7e9);
    expect((await streamInfo(connection.names.lane('limits', 'normal').stream)).state.messages).toBe(1);
  });

  it('lower limits throw nothing away: the lane is full until it has shrunk', async () => {
    await provisionQueue(connection, { name: 'shrunk', maxDepth: 10 });
    for (let i = 0; i < 6; i++) await connection.publish(connection.names.task('shrunk', 'normal', `k${i}`), bytes('x'.repeat(200)));
    await provisionQueue(connection, { name: 'shrunk', maxDepth: 3, maxBytes: 100, maxPayload: 1 });
    expect((await streamInfo(connection.names.lane('shrunk', 'normal').stream)).state.messages).toBe(6);
    const full = await rejection(connection.publish(connection.names.task('shrunk', 'normal', 'more'), bytes('x')));
    expect(full).toMatchObject({ code: 'queue-full' });
  });

  it('every definition that passes its schema can be provisioned', async () => {
    const odd: QueueDefinition[] = [
      { name: 'few', maxDeliveries: 3 },
      { name: 'many', maxDeliveries: 100, lease: '1s', maxDepth: 1, maxPayload: 1, maxBytes: 1 },
      { name: 'fraction', lease: '1.1s', keepRecords: 1000.4 },
      { name: 'long', lease: '24h', storage: 'memory' },
      { name: '0', lease: 1000 },
      { name: `q${'-'.repeat(63)}` },
    ];
    for (const definition of odd) await provisionQueue(connection, definition);
    expect(await laneConsumer('few')).toMatchObject({ max_deliver: 3, backoff: [30e9, 30e9, 30e9] });
    for (const { name } of odd) await removeQueue(connection, name);
  });

  it('a field that cannot be changed gives a mismatch that names it, for good', async () => {
    await provisionQueue(connection, { name: 'fixed' });
    const storage = await rejection(provisionQueue(connection, { name: 'fixed', storage: 'memory' }));
    expect(storage).toMatchObject({ code: 'stream-mismatch', retryable: false, message: expect.stringContaining('another storage') });
    await makeStream(connection, connection.names.lane('foreign', 'high').stream, [connection.names.laneSubjects('foreign', 'high')]);
    const retention = await rejection(provisionQueue(connection, { name: 'foreign' }));
    expect(retention).toMatchObject({ code: 'stream-mismatch', message: expect.stringContaining('retention') });
    const { consumers } = await connection.admin();
    const { stream, consumer } = connection.names.lane('fixed', 'low');
    await consumers.delete(stream, consumer);
    await consumers.add(stream, { durable_name: consumer, ack_policy: 'explicit', max_waiting: 7 });
    expect(await rejection(provisionQueue(connection, { name: 'fixed' }))).toMatchObject({
      code: 'stream-mismatch',
      message: expect.stringContaining('max_waiting'),
    });
  });

  it('a stream of somebody else on our subjects is reported, not touched', async () => {
    await makeStream(connection, 'somebody', [connection.names.laneSubjects('taken', 'low')]);
    expect(await rejection(provisionQueue(connection, { name: 'taken' }))).toMatchObject({
      code: 'jetstream-api',
      message: expect.stringMatching(/overlap/),
    });
    expect(await rejection(provisionQueue(connection, { name: 'replicated', replicas: 3 }))).toMatchObject({
      code: 'jetstream-api',
      message: expect.stringMatching(/replicas/),
    });
  });

  it('removes what it made, and does not mind what is gone', async () => {
    const link = await broker.connect({ namespace: 'gone' });
    await provisionBase(link);
    await provisionQueue(link, { name: 'q' });
    for (let i = 0; i < 2; i++) {
      await removeQueue(link, 'q');
      await removeBase(link);
    }
    const { streams } = await connection.admin();
    const left: string[] = [];
    for await (const name of streams.names('gone.>')) left.push(name);
    expect(left).toEqual([]);
  });

  it('two installations on one account do not see each other', async () => {
    const other = await broker.connect({ namespace: 'other' });
    await provisionBase(other);
    await provisionQueue(other, { name: 'five' });
    await other.publish(other.names.task('five', 'low', 'k'), bytes('x'));
    expect((await streamInfo(connection.names.lane('five', 'low').stream)).state.messages).toBe(0);
    for (const lane of LANES) expect(other.names.lane('five', lane).stream).toMatch(/^other_/);
  });
});

describe('servers that cannot do it', () => {
  /** A link to a nats-server that runs without JetStream. */
  const without = async (use: (link: Connection) => Promise<void>): Promise<void> => {
    const [{ path }, port] = [await resolveNatsServer(), await freePort()];
    const server = spawn(path, ['--addr', '127.0.0.1', '--port', String(port)], { stdio: 'ignore' });
    const link = await connect({ servers: `nats://127.0.0.1:${port}` });
    await use(link).finally(async () => {
      await link.close();
      server.kill();
    });
  };

  it('one that is too old is named with both levels', () =>
    without(async (link) => {
      const answer = {
        type: 'io.nats.jetstream.api.v1.account_info_response',
        memory: 0,
        storage: 0,
        streams: 0,
        consumers: 0,
        limits: {},
        api: { total: 0, errors: 0 },
      };
      link.subscribe('$JS.API.INFO', (message) => void link.send(message.reply, JSON.stringify(answer)));
      await link.flush();
      const error = await rejection(checkServer(link));
      expect(error).toMatchObject({ code: 'server-too-old', retryable: false, details: { level: 0, required: REQUIRED_API_LEVEL } });
      expect(error.message).toContain('nats-server 2.14');
    }));

  it('one without JetStream gets the way out', () =>
    without(async (link) => {
      expect(await rejection(provisionBase(link))).toMatchObject({
        code: 'jetstream-api',
        message: expect.stringMatching(/start nats-server with -js/),
      });
    }));
});
