import { type BucketChange, type Connection, JsonBucket } from '@jetlane/jetstream';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Broker, bytes } from '../support/broker.js';
import { LinkProxy } from '../support/link-proxy.js';
import { eventually } from '../support/wait-until.js';

let broker: Broker;
let connection: Connection;

beforeAll(async () => {
  broker = await Broker.start('kv');
  connection = await broker.connect();
});
afterAll(() => broker.stop());

/** A watcher that keeps what it is told. */
async function watched<T>(bucket: JsonBucket<T>) {
  const changes: BucketChange<T>[] = [];
  const { ready, stop } = await bucket.watch((change) => changes.push(change));
  const last = (key: string) => changes.filter((change) => change.key === key).at(-1);
  return { changes, ready, stop, last };
}

describe('values', () => {
  it('are read, replaced, listed, and created only once', async () => {
    const bucket = await JsonBucket.open<{ n: number }>(connection, 'values');
    expect(await bucket.get('a')).toBeUndefined();
    expect(await bucket.all()).toEqual([]);
    const created = await Promise.all(Array.from({ length: 10 }, (_, n) => bucket.create('a', { n })));
    expect(created.filter(Boolean)).toHaveLength(1);
    const revision = await bucket.put('a', { n: 42 });
    expect(await bucket.get('a')).toEqual({ key: 'a', value: { n: 42 }, revision });
    await bucket.put('b', { n: 1 });
    expect((await bucket.all()).map(({ key }) => key).sort()).toEqual(['a', 'b']);
  });

  it('opening it again, by many at once, is harmless', async () => {
    const links = await Promise.all(Array.from({ length: 5 }, () => broker.connect()));
    const buckets = await Promise.all(links.map((link) => JsonBucket.open<number>(link, 'many')));
    await buckets[0]!.put('x', 1);
    expect((await buckets[4]!.get('x'))?.value).toBe(1);
  });
});

describe('watching', () => {
  it('ends with its connection: what comes while that is closed is no error', async () => {
    const proxy = await LinkProxy.open(broker.server.url);
    const link = await broker.connect({ servers: proxy.url });
    const bucket = await JsonBucket.open<number>(link, 'left');
    await bucket.put('k', 0);
    const watch = await watched(bucket);
    await watch.ready;
    // The client finds a gap: it would begin anew, on a connection that is being closed.
    let lost = false;
    proxy.fromServer = ({ body }) => {
      const drop = !lost && body.toString().endsWith('1');
      lost ||= drop;
      return !drop;
    };
    const other = await JsonBucket.open<number>(connection, 'left');
    await other.put('k', 1);
    await eventually('a change is lost', () => lost);
    const thaw = proxy.freeze();
    await other.put('k', 2);
    const printed = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    const closing = link.close();
    thaw();
    await closing;
    expect(printed.mock.calls).toEqual([]);
    printed.mockRestore();
    await proxy.close();
  });

  it('an empty bucket is ready at once, and tells what comes', async () => {
    const bucket = await JsonBucket.open<number>(connection, 'empty');
    const watch = await watched(bucket);
    await watch.ready;
    expect(watch.changes).toEqual([]);
    await bucket.put('first', 1);
    await eventually('the change is told', () => watch.last('first')?.value === 1);
    watch.stop();
  });

  it('is ready when everything present was told, and tells when a key goes', async () => {
    const bucket = await JsonBucket.open<number>(connection, 'present');
    for (let i = 0; i < 50; i++) await bucket.put(`k${i}`, i);
    const watch = await watched(bucket);
    await watch.ready;
    expect(new Set(watch.changes.map(({ key }) => key)).size).toBe(50);
    await connection.publish('$KV.present.k7', bytes(''), Buffer.from('NATS/1.0\r\nKV-Operation: DEL\r\n\r\n'));
    await eventually('the deletion is told', () => watch.changes.length > 50);
    expect(watch.last('k7')).toMatchObject({ value: undefined });
    expect(await bucket.get('k7')).toBeUndefined();
    watch.stop();
    const later = await watched(bucket);
    await later.ready;
    expect(later.last('k7')?.value).toBeUndefined();
    later.stop();
  });

  it('a value that is no JSON harms nobody', async () => {
    const bucket = await JsonBucket.open<number>(connection, 'garbage');
    await connection.publish('$KV.garbage.bad', bytes('{ not json'));
    const watch = await watched(bucket);
    await watch.ready;
    await connection.publish('$KV.garbage.worse', new Uint8Array([0xff, 0x00]));
    await bucket.put('good', 1);
    await eventually('the good one is told', () => watch.last('good')?.value === 1);
    expect(watch.changes.map(({ key }) => key)).toEqual(['good']);
    expect(await bucket.get('bad')).toBeUndefined();
    expect((await bucket.all()).map(({ key }) => key)).toEqual(['good']);
    watch.stop();
  });

  it('a listener that throws is told of the next change all the same', async () => {
    const others = process.listeners('warning');
    process.removeAllListeners('warning');
    const bucket = await JsonBucket.open<number>(connection, 'throws');
    const told: string[] = [];
    const { ready, stop } = await bucket.watch(({ key }) => {
      told.push(key);
      if (key === 'a') throw new Error('broken listener');
    });
    await ready;
    await bucket.put('a', 1);
    await bucket.put('b', 1);
    await eventually('both are told', () => told.join() === 'a,b');
    stop();
    for (const other of others) process.on('warning', other);
  });

  it('goes on after the bucket was deleted, by somebody who makes it again or by nobody', async () => {
    const bucket = await JsonBucket.open<number>(connection, 'deleted');
    const watch = await watched(bucket);
    await watch.ready;
    await bucket.put('before', 1);
    const { streams } = await connection.admin();
    for (const round of [1, 2]) {
      await streams.delete('KV_deleted');
      if (round === 2) await JsonBucket.open<number>(connection, 'deleted');
      await eventually('the bucket is there again', async () => (await bucket.all().catch(() => undefined))?.length === 0);
      await eventually('a change is told', async () => {
        await bucket.put('after', round);
        return watch.last('after')?.value === round;
      });
    }
    expect(watch.last('before')?.value).toBe(1);
    watch.stop();
  });

  it('goes on after the server was killed', async () => {
    const own = await Broker.start('kv');
    const link = await own.connect();
    const bucket = await JsonBucket.open<number>(link, 'restart');
    const watch = await watched(bucket);
    await watch.ready;
    await bucket.put('before', 1);
    await own.crash();
    await eventually('link is up again', () => link.epoch === 2);
    await bucket.put('after', 2);
    await eventually('the change is told', () => watch.last('after')?.value === 2);
    watch.stop();
    await own.stop();
  });
});
