import { type Connection, type Delivery, provisionBase, provisionQueue, TaskStore } from '@jetlane/jetstream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker } from '../support/broker.js';
import { eventually } from '../support/wait-until.js';

let broker: Broker;
let connection: Connection;

beforeAll(async () => {
  broker = await Broker.start('copies');
  connection = await broker.connect();
  await provisionBase(connection);
  await provisionQueue(connection, { name: 'q', lease: '1s' });
});
afterAll(() => broker.stop());

const keys = ['k1', 'k2', 'k3', 'k4', 'k5', 'k6', 'k7', 'k8', 'k9', 'k10'];

describe('removing the copies of one task', () => {
  // A purge by subject moved the consumer's floor over the others, and the server never delivered them again.
  it('leaves those that are in hand beside it as they were: they come again when their lease ends', async () => {
    const { names } = connection;
    const { stream, consumer } = names.lane('q', 'normal');
    for (const key of keys) await connection.publish(names.task('q', 'normal', key), '');
    const came: Delivery[] = [];
    const puller = connection.puller({ stream, consumer, onDelivery: (one) => void came.push(one), onEnd: () => undefined });
    puller.start(connection.epoch);
    puller.pull(10, 'wait');
    await eventually('all are in hand', () => came.length === 10);
    await new TaskStore(connection).removeCopies('q', 'k8');
    connection.ack(came[8]!);
    came.splice(0);
    puller.pull(8, 'wait');
    await eventually('the others come again', () => came.length === 8, 15_000);
    expect(new Set(came.map(({ key }) => key))).toEqual(new Set(['k1', 'k2', 'k3', 'k4', 'k5', 'k6', 'k7', 'k10']));
    puller.stop();
  });
});
