import { ensureQueue, openQueueBucket } from '@jetlane/jetstream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Installation } from '../support/installation.js';
import { eventually, rejection } from '../support/wait-until.js';

let site: Installation;
beforeAll(async () => {
  site = await Installation.open(
    'drop',
    { name: 'ring', maxDepth: 10, dropBehavior: 'drop-oldest' },
    { name: 'small', maxBytes: 5000, dropBehavior: 'drop-oldest' },
    { name: 'held', maxDepth: 3, dropBehavior: 'drop-oldest' },
    { name: 'closed', maxDepth: 2 },
    { name: 'row', discipline: 'fifo' },
  );
});
afterAll(() => site.close());

const depth = (queue: string) => site.messages(site.connection.names.lane(queue, 'normal').stream);
const state = async (id: string) => {
  const { record } = await site.store.record(...(id.split('.') as [string, string]));
  return record && { state: record.state, reason: record.reason };
};
const DROPPED = { state: 'cancelled', reason: 'dropped' };

describe('a full lane of a queue that drops the oldest', () => {
  it('takes every new task and cancels as many old ones, oldest first', async () => {
    const ids: string[] = [];
    for (let i = 0; i < 25; i++) ids.push((await site.client.enqueue('ring', { type: 't', data: i })).id);
    expect(await depth('ring')).toBe(10);
    for (const id of ids.slice(0, 15)) expect(await state(id), id).toEqual(DROPPED);
    for (const id of ids.slice(15)) expect((await site.client.status(id)).state, id).toBe('queued');
    expect(await site.client.status(ids[0]!)).toMatchObject({ state: 'cancelled' });
  });

  it('holds by bytes as well, with keys, and for many at once from two producers: every one is stored or cancelled', async () => {
    const other = await site.producer();
    const ids: string[] = [];
    const onReceipt = ({ id }: { id: string }) => void ids.push(id);
    const tasks = (from: string) => Array.from({ length: 300 }, (_, i) => ({ queue: 'small', type: 't', data: `${from}${i}`.padEnd(200) }));
    const [one, two] = await Promise.all([
      site.client.enqueueMany(tasks('a'), { onReceipt }),
      other.enqueueMany(tasks('b'), { onReceipt }),
    ]);
    expect([one.failed, two.failed]).toEqual([0, 0]);
    ids.push((await site.client.enqueue('small', { type: 't', data: 'k', key: 'mine' })).id);
    const left = await depth('small');
    expect(left).toBeLessThan(30);
    const states = await Promise.all(ids.map(state));
    expect(ids.length).toBe(601);
    expect(states.filter((record) => record?.reason === 'dropped').length).toBe(601 - left);
    expect(await state('small.mine')).toEqual({ state: 'accepted', reason: undefined });
  });

  it('never drops what a worker holds: when that is all, the lane is full', async () => {
    for (let i = 0; i < 3; i++) await site.client.enqueue('held', { type: 't', key: `h${i}` });
    const { stream, consumer } = site.connection.names.lane('held', 'normal');
    const held: string[] = [];
    const onDelivery = ({ subject }: { subject: string }) => void held.push(subject.split('.').at(-1)!);
    const puller = site.connection.puller({ stream, consumer, onDelivery, onEnd: () => undefined });
    puller.start(1);
    puller.pull(2, 'now');
    await eventually('two are held', () => held.length === 2);
    await site.client.enqueue('held', { type: 't', key: 'new' });
    expect(await state('held.h2')).toEqual(DROPPED);
    puller.pull(1, 'now');
    await eventually('the new one is held too', () => held.length === 3);
    expect(await rejection(site.client.enqueue('held', { type: 't', key: 'late' }))).toMatchObject({ code: 'queue-full' });
    expect(held).toEqual(['h0', 'h1', 'new']);
    for (const key of held) expect((await state(`held.${key}`))?.state).toBe('accepted');
    puller.stop();
  });

  it('is refused by a queue that was not told to drop', async () => {
    for (let i = 0; i < 2; i++) await site.client.enqueue('closed', { type: 't' });
    expect(await rejection(site.client.enqueue('closed', { type: 't' }))).toMatchObject({ code: 'queue-full' });
  });

  it('obeys a changed definition', async () => {
    const client = await site.producer();
    await ensureQueue(site.connection, { name: 'later', maxDepth: 1 });
    await client.enqueue('later', { type: 't' });
    await (await openQueueBucket(site.connection)).put('later', { name: 'later', maxDepth: 1, dropBehavior: 'drop-oldest' });
    await eventually('it drops now', () =>
      client.enqueue('later', { type: 't' }).then(
        () => true,
        () => false,
      ),
    );
  });
});

describe('a fifo queue', () => {
  it('has no priorities', async () => {
    expect(await site.client.enqueue('row', { type: 't' })).toMatchObject({ lane: 'normal' });
    expect(await rejection(site.client.enqueue('row', { type: 't', lane: 'high' }))).toMatchObject({
      code: 'invalid-argument',
      message: expect.stringContaining('fifo'),
    });
  });
});
