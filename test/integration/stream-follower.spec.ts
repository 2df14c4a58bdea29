import { type Connection, connect, provisionBase, type StoredMessage, StreamFollower } from '@jetlane/jetstream';
import { type NatsServer, startNatsServer } from '@jetlane/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from './analytics-fixture.js';

describe('StreamFollower', () => {
  let server: NatsServer;
  let connection: Connection;
  let stream: string;
  let subject: string;
  let counter = 0;
  const followers: StreamFollower[] = [];

  beforeAll(async () => {
    server = await startNatsServer();
  });
  afterAll(() => server.stop());

  beforeEach(async () => {
    connection = await connect({ servers: server.url, namespace: `follow-${counter++}` });
    await provisionBase(connection);
    stream = connection.names.metrics;
    subject = connection.names.pattern('metrics.>');
  });
  afterEach(async () => {
    await Promise.all(followers.splice(0).map((follower) => follower.stop()));
    await connection.close();
  });

  const put = (key: string, body = key) => connection.publish(connection.names.metric('q', key), new TextEncoder().encode(body));

  function follow(
    options: {
      from?: number;
      wakeOn?: string;
      pollMs?: number;
      batch?: number;
      onMessage?: (message: StoredMessage) => Promise<void>;
    } = {},
  ) {
    const seen: string[] = [];
    const sequences: number[] = [];
    const follower = new StreamFollower(connection, {
      stream,
      subject,
      ...options,
      onMessage: async (message) => {
        await options.onMessage?.(message);
        seen.push(new TextDecoder().decode(message.data));
        sequences.push(message.sequence);
      },
    });
    followers.push(follower);
    follower.start();
    return { follower, seen, sequences };
  }

  it('reads what is stored in order, over many batches, and says when it is at the end', async () => {
    for (let i = 0; i < 50; i++) await put(`k${i}`);
    const { follower, seen, sequences } = follow({ batch: 7 });
    await follower.caughtUp;
    expect(seen).toEqual(Array.from({ length: 50 }, (_, i) => `k${i}`));
    expect(sequences).toEqual([...sequences].sort((a, b) => a - b));
    expect(follower.position).toBe(50);
  });

  it('is at the end of an empty stream at once', async () => {
    const { follower } = follow();
    await follower.caughtUp;
    expect(follower.position).toBe(0);
  });

  it('is woken by news, and finds it by asking when it is not', async () => {
    const woken = follow({ wakeOn: subject, pollMs: 600_000 });
    const asking = follow({ pollMs: 50 });
    await Promise.all([woken.follower.caughtUp, asking.follower.caughtUp]);
    await put('a');
    await eventually('both see it', () => woken.seen.length === 1 && asking.seen.length === 1, 3000);
    await put('b');
    await eventually('both see the next', () => woken.seen.length === 2 && asking.seen.length === 2, 3000);
  });

  it('resumes behind a position', async () => {
    for (const key of ['a', 'b', 'c']) await put(key);
    const { follower, seen } = follow({ from: 3 });
    await follower.caughtUp;
    expect(seen).toEqual(['c']);
  });

  it('hands a message over again when its reader failed, and one at a time', async () => {
    for (const key of ['a', 'b', 'c']) await put(key);
    let failures = 1;
    let running = 0;
    const { follower, seen } = follow({
      onMessage: async (message) => {
        expect(++running).toBe(1);
        await new Promise((resolve) => setImmediate(resolve));
        running--;
        if (message.sequence === 2 && failures-- > 0) throw new Error('not yet');
      },
    });
    await follower.caughtUp;
    expect(seen).toEqual(['a', 'b', 'c']);
  });

  it('goes on after the server was killed and came back', async () => {
    const { follower, seen } = follow({ wakeOn: subject, pollMs: 100 });
    await put('before');
    await eventually('the first', () => seen.includes('before'));
    server.kill('SIGKILL');
    await server.exited;
    await server.start();
    await put('after');
    await eventually('the next', () => seen.includes('after'));
    expect(new Set(seen).size).toBe(seen.length);
    expect(follower.answeredAt).toBeGreaterThan(0);
  });

  it('starts over when the stream was made anew', async () => {
    for (const key of ['a', 'b', 'c']) await put(key);
    const { follower, seen } = follow({ pollMs: 50 });
    await follower.caughtUp;
    await (await connection.admin()).streams.delete(stream);
    server.kill('SIGKILL');
    await server.exited;
    await server.start();
    await connection.whenConnected();
    await provisionBase(connection);
    await put('anew');
    await eventually('the new one', () => seen.includes('anew'));
  });

  it('stops at once, also while it waits, and reads no further', async () => {
    await put('a');
    const { follower, seen } = follow({ pollMs: 600_000 });
    await follower.caughtUp;
    await follower.stop();
    await put('b');
    expect(seen).toEqual(['a']);
  });
});
