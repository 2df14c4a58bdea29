import { Connection, type Delivery, provisionBase } from '@jetlane/jetstream';
import { headerText, Names } from '@jetlane/protocol';
import { connect as connectClient, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker, makeStream } from '../support/broker.js';
import { eventually } from '../support/wait-until.js';

let broker: Broker;
let connection: Connection;

/** The client as a later version may be: its protocol handler cannot be reached. */
function hiding(nats: NatsConnection): NatsConnection {
  return new Proxy(nats, {
    get: (target, name) => {
      const value: unknown = name === 'protocol' ? undefined : Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

beforeAll(async () => {
  broker = await Broker.start('hidden');
  const nats = await connectClient({ servers: broker.server.url });
  connection = new Connection(hiding(nats), new Names('hidden'), {});
  await provisionBase(connection);
});
afterAll(async () => {
  await connection.close();
  await broker.stop();
});

describe('a client that hides its inner parts', () => {
  it('still publishes, pulls and acknowledges', async () => {
    await makeStream(connection, 'hidden_work', ['hidden_work.>'], { retention: 'workqueue' });
    const { consumers, streams } = await connection.admin();
    await consumers.add('hidden_work', { durable_name: 'w', ack_policy: 'explicit' });
    const keys = Array.from({ length: 50 }, (_, i) => `k${i}`);
    await Promise.all(keys.map((key) => connection.publish(`hidden_work.${key}`, `body of ${key} ä`, headerText([['Task-Type', key]]))));
    const got: Delivery[] = [];
    const puller = connection.puller({
      stream: 'hidden_work',
      consumer: 'w',
      onDelivery: (one) => void got.push(one),
      onEnd: () => undefined,
    });
    puller.start(connection.epoch);
    puller.pull(50, 'wait');
    await eventually('all are here', () => got.length === 50);
    expect(got.map(({ key }) => key)).toEqual(keys);
    expect(got.map((one) => one.text())).toEqual(keys.map((key) => `body of ${key} ä`));
    expect(got.every(({ headers, key, count }) => headers.includes(`Task-Type: ${key}\r\n`) && count === 1)).toBe(true);
    expect(Math.abs(got[0]!.storedAt - Date.now())).toBeLessThan(60_000);
    expect(got.every((one) => connection.ack(one))).toBe(true);
    await eventually('all are gone', async () => (await streams.info('hidden_work')).state.messages === 0);
    puller.stop();
  });

  it('still stores many at once', async () => {
    const stored = await Promise.all(Array.from({ length: 100 }, (_, i) => connection.publish(connection.names.state('q', `k${i}`), '{}')));
    expect(new Set(stored.map(({ seq }) => seq)).size).toBe(100);
  });
});
