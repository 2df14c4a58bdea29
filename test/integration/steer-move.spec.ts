import { HEADER, headerValue } from '@jetlane/protocol';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Frame, LinkProxy } from '../support/link-proxy.js';
import { admin, define, ended, enqueueAll, hold, keysOf, queue, site, startSteering, useSteering } from './steer-fixture.js';

useSteering('moves');

/** Steers over a link on which the first of the messages that match goes to where nobody listens, and is refused. */
async function startRefused(matches: (frame: Frame) => boolean): Promise<() => number> {
  const proxy = await LinkProxy.open(site.server.url);
  onTestFinished(() => proxy.close());
  const link = await site.link(proxy.url);
  let refused = 0;
  proxy.fromClient = (frame) => {
    if (refused > 0 || !/^H?PUB$/.test(frame.verb) || !matches(frame)) return;
    refused++;
    frame.raw.write('X', frame.raw.indexOf(frame.subject));
  };
  await startSteering({}, link);
  return () => refused;
}

const hops = (keys: string[], hop: number) => keys.map((key) => `${key}#${hop}`).sort();

describe('a move', () => {
  it('to another lane keeps the order and the id, and raises the hop', async () => {
    await startSteering();
    await enqueueAll(keysOf(20), { body: '{"n":1}', group: 'g' });
    await enqueueAll(['there'], { lane: 'high' });
    expect(await ended(await admin.queues.move({ queue, toLane: 'high', all: true }))).toMatchObject({
      state: 'completed',
      done: 20,
      skipped: 0,
    });
    const moved = await site.inLane(queue, 'k3', 'high');
    expect(Buffer.from(moved!.data).toString()).toBe('{"n":1}');
    expect([headerValue(moved!.headers, HEADER.hop), headerValue(moved!.headers, HEADER.group)]).toEqual(['2', 'g']);
    expect(await site.inLane(queue, 'k3', 'normal')).toBeUndefined();
    const taken = await site.takeAll(queue, 21);
    expect(taken).toEqual(['there#1', ...keysOf(20).map((key) => `${key}#2`)]);
  });

  it('to another queue leaves word under the old id, and the type that its old queue gave it', async () => {
    await startSteering();
    const other = `${queue}-other`;
    await define({ name: other, defaultType: 'theirs' });
    await define({ name: queue, defaultType: 'ours' });
    await site.enqueue(queue, 'typeless', { lane: 'low', headers: [] });
    await enqueueAll(['typed'], { type: 'mail' });
    expect(await ended(await admin.queues.move({ queue, toQueue: other, all: true }))).toMatchObject({ done: 2, failed: 0 });
    expect(headerValue((await site.inLane(other, 'typeless', 'low'))!.headers, HEADER.type)).toBe('ours');
    expect((await site.store.record(queue, 'typed')).record).toMatchObject({ state: 'cancelled', reason: `moved to ${other}.typed` });
    expect((await site.takeAll(other, 2)).sort()).toEqual(hops(['typed', 'typeless'], 2));
  });

  it('into a fifo queue goes to its only lane, and to no other', async () => {
    await startSteering();
    const other = `${queue}-fifo`;
    await define({ name: other, discipline: 'fifo' });
    await enqueueAll(keysOf(3), { lane: 'high' });
    const rejected = { code: 'invalid-argument', message: /is fifo and takes no tasks of lane "high"/ };
    await expect(admin.queues.move({ queue, toQueue: other, toLane: 'high', all: true })).rejects.toMatchObject(rejected);
    await expect(admin.queues.move({ queue: other, toLane: 'high', all: true })).rejects.toMatchObject(rejected);
    expect(await ended(await admin.queues.move({ queue, toQueue: other, all: true }))).toMatchObject({ done: 3, failed: 0 });
    for (const key of keysOf(3)) expect(await site.inLane(other, key, 'normal')).toBeDefined();
  });

  it('keeps the order when one of them cannot be looked up at first', async () => {
    await enqueueAll(keysOf(20));
    const refused = await startRefused(({ subject, body }) => subject.includes('STREAM.MSG.GET') && body.includes('.k5"'));
    const job = await ended(await admin.queues.move({ queue, toLane: 'high', all: true }));
    expect([refused(), job]).toMatchObject([1, { state: 'completed', done: 20, failed: 0 }]);
    expect(await site.takeAll(queue, 20)).toEqual(keysOf(20).map((key) => `${key}#2`));
  });

  it('into a fifo queue keeps the order when the server refuses one of them at first', async () => {
    const other = `${queue}-fifo-order`;
    await define({ name: other, discipline: 'fifo' });
    await enqueueAll(keysOf(20));
    const refused = await startRefused(({ subject }) => subject.endsWith(`tasks.${other}.normal.k5`));
    const job = await ended(await admin.queues.move({ queue, toQueue: other, all: true }));
    expect([refused(), job]).toMatchObject([1, { state: 'completed', done: 20, failed: 0 }]);
    expect(await site.takeAll(other, 20)).toEqual(keysOf(20).map((key) => `${key}#2`));
  });

  it('never takes what a worker has in hand, and by type and id only those', async () => {
    await startSteering();
    await enqueueAll(keysOf(10), { type: 'a' });
    await enqueueAll(['b'], { type: 'b' });
    const letGo = await hold(4);
    expect(await ended(await admin.queues.move({ queue, toLane: 'low', type: 'a' }))).toMatchObject({ done: 6, held: 4 });
    expect(await ended(await admin.queues.move({ queue, toLane: 'critical', ids: [`${queue}.b`, `${queue}.k0`] }))).toMatchObject({
      done: 1,
      held: 1,
    });
    await letGo(true);
    expect((await site.takeAll(queue, 7)).sort()).toEqual(hops(['b', 'k4', 'k5', 'k6', 'k7', 'k8', 'k9'], 2));
  });

  it('stops at a full lane and loses nothing; a new one goes on', async () => {
    await startSteering();
    const other = `${queue}-small`;
    await define({ name: other, maxDepth: 5 });
    await enqueueAll(keysOf(12));
    const job = await ended(await admin.queues.move({ queue, toQueue: other, all: true, rate: 50 }));
    expect(job).toMatchObject({ state: 'stopped', done: 5, error: { code: 'queue-full' } });
    expect([await site.depth(queue), await site.depth(other)]).toEqual([7, 5]);
    await define({ name: other, maxDepth: 50 });
    expect(await ended(await admin.queues.move({ queue, toQueue: other, all: true }))).toMatchObject({ state: 'completed', done: 7 });
    expect((await site.takeAll(other, 12)).sort()).toEqual(hops(keysOf(12), 2));
  });

  it('does not run over another task of the same key', async () => {
    await startSteering();
    const other = `${queue}-taken`;
    await define({ name: other });
    await enqueueAll(['free', 'taken']);
    await site.enqueue(other, 'taken', {
      headers: [
        ['Task-Type', 'noop'],
        ['Task-Created-At', '1600000000000'],
      ],
    });
    const job = await ended(await admin.queues.move({ queue, toQueue: other, all: true }));
    expect(job).toMatchObject({
      state: 'completed',
      done: 1,
      failed: 1,
      failures: [{ id: `${queue}.taken`, code: 'idempotency-conflict' }],
    });
    expect((await site.takeAll(queue, 1))[0]).toBe('taken#1');
    expect((await site.takeAll(other, 2)).sort()).toEqual(['free#2', 'taken#1']);
  });

  it('brings no task back to life that was cancelled, and finishes what it did before', async () => {
    await startSteering();
    const other = `${queue}-alive`;
    await define({ name: other });
    await enqueueAll(['cancelled', 'moved']);
    const record = (key: string, reason: string) =>
      site.store.writeRecord(queue, key, { id: `${queue}.${key}`, hop: 1, state: 'cancelled', attempt: 1, at: {}, reason }, 60_000);
    await record('cancelled', 'by its canceller, who died before he removed it');
    await record('moved', `moved to ${other}.moved`);
    expect(await ended(await admin.queues.move({ queue, toQueue: other, all: true }))).toMatchObject({ done: 0, skipped: 2, failed: 0 });
    expect([await site.depth(other), await site.inLane(queue, 'moved')]).toEqual([0, undefined]);
    expect(await ended(await admin.queues.move({ queue, toLane: 'low', all: true }))).toMatchObject({ done: 0, skipped: 1 });
    expect(await site.takeAll(queue, 1)).toEqual(['cancelled#1']);
  });

  it('keeps a key that its producer gave taken in the new queue', async () => {
    await startSteering();
    const other = `${queue}-keyed`;
    await define({ name: other });
    await site.enqueue(queue, 'order-1', {
      headers: [
        ['Task-Type', 'noop'],
        ['Task-Created-At', '1700000000000'],
        ['Task-Hash', 'abc'],
      ],
    });
    expect(await ended(await admin.queues.move({ queue, toQueue: other, all: true }))).toMatchObject({ done: 1 });
    expect((await site.store.record(other, 'order-1')).record).toMatchObject({ hop: 2, hash: 'abc', state: 'queued' });
    expect((await site.store.record(queue, 'order-1')).record).toMatchObject({ hash: 'abc', state: 'cancelled' });
  });

  it('refuses to go nowhere', async () => {
    await startSteering();
    await expect(admin.queues.move({ queue, all: true })).rejects.toMatchObject({ code: 'invalid-argument' });
    await expect(admin.queues.move({ queue, lane: 'low', toLane: 'low' })).rejects.toMatchObject({ code: 'invalid-argument' });
    await expect(admin.queues.move({ queue, toQueue: 'nowhere', all: true })).rejects.toMatchObject({ code: 'unknown-queue' });
  });
});
