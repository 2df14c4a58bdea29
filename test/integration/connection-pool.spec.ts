import { ConnectionPool, provisionQueue } from '@jetlane/jetstream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Broker } from '../support/broker.js';
import { eventually } from '../support/wait-until.js';

let broker: Broker;
beforeAll(async () => {
  broker = await Broker.start('pool');
});
afterAll(() => broker.stop());

describe('a pool of connections', () => {
  it('spreads publishes over its links, the least busy first, and reports each', async () => {
    const pool = await ConnectionPool.open(
      { servers: broker.server.url, namespace: 'pool', name: 'producer', waitOnFirstConnect: false },
      3,
    );
    const [first] = pool.connections;
    await provisionQueue(first!, { name: 'q' });
    const used = new Set<unknown>();
    const publishes = Array.from({ length: 300 }, (_, i) => {
      const connection = pool.next();
      used.add(connection);
      return connection.publish(connection.names.task('q', 'normal', `k${i}`), '{}');
    });
    expect(used.size).toBe(3);
    expect(pool.stats().map(({ name, state, pending }) => ({ name, state, pending }))).toEqual(
      [1, 2, 3].map((i) => ({ name: `producer-${i}`, state: 'connected', pending: 100 })),
    );
    const acks = await Promise.all(publishes);
    expect(new Set(acks.map(({ seq }) => seq)).size).toBe(300);
    expect(pool.stats().every(({ pending, queued }) => pending + queued === 0)).toBe(true);
    await first!.close();
    expect(Array.from({ length: 10 }, () => pool.next())).not.toContain(first);
    await pool.close();
  });

  it('grows to its most while all links are busy, and no further', async () => {
    const pool = await ConnectionPool.open({ servers: broker.server.url, namespace: 'pool', name: 'growing' }, 1, 3);
    await provisionQueue(pool.connections[0]!, { name: 'grown' });
    let sent = 0;
    const burst = () =>
      Promise.all(
        Array.from({ length: 1500 }, () => {
          const connection = pool.next();
          return connection.publish(connection.names.task('grown', 'normal', `k${sent++}`), '{}');
        }),
      );
    expect(pool.next()).toBe(pool.connections[0]);
    await eventually('it has grown', () => burst().then(() => pool.connections.length === 3));
    await burst();
    expect(pool.stats().map(({ name }) => name)).toEqual(['growing-1', 'growing-2', 'growing-3']);
    await pool.close();
    expect(pool.connections.every(({ state }) => state === 'closed')).toBe(true);
  });

  it('refuses a size that makes no sense, and leaves nothing open when a link fails', async () => {
    await expect(ConnectionPool.open({ servers: broker.server.url }, 0)).rejects.toMatchObject({
      code: 'invalid-argument',
      details: { field: 'size' },
    });
    await expect(ConnectionPool.open({ servers: 'nats://127.0.0.1:1', waitOnFirstConnect: false }, 2)).rejects.toMatchObject({
      code: 'not-connected',
    });
  });
});
