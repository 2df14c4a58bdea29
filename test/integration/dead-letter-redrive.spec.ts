import { deleteMessage, openQueueBucket } from '@jetlane/jetstream';
import { HEADER } from '@jetlane/protocol';
import { describe, expect, it } from 'vitest';
import { bury, connection, queue, serveDeadLetters, site, startDeadLetters, useResiliency } from './resiliency-fixture.js';

useResiliency('redrive');

const headersOf = async (key: string, lane: 'high' | 'normal' = 'normal') =>
  Object.fromEntries((await site.inLane(queue, key, lane))?.headers ?? []);
const bodyOf = async (key: string, lane: 'high' | 'normal' = 'normal') =>
  Buffer.from((await site.inLane(queue, key, lane))?.data ?? []).toString();

describe('redrive of one', () => {
  it('goes to its lane under the next hop: history kept, attempts anew, no word of its death', async () => {
    const letters = await serveDeadLetters();
    const history = '[{"attempt":1,"at":5,"name":"Error","message":"first"}]';
    const id = await bury('again', {
      hop: 3,
      headers: [
        ['Task-Errors', history],
        ['Nats-Expected-Stream', 'elsewhere'],
        ['X-Own', '1'],
      ],
    });
    expect(await letters.redrive({ task_id: id })).toEqual({ task_id: id, hop: 4, lane: 'normal', duplicate: false });
    expect(await headersOf('again')).toEqual({
      'Nats-Msg-Id': 'again#4',
      'Task-Type': 'mail',
      'X-Own': '1',
      'Task-Errors': history,
      'Task-Hop': '4',
    });
    expect(await bodyOf('again')).toBe('{"key":"again"}');
    expect(await site.dead(queue, 'again')).toBeUndefined();
    await expect(letters.redrive({ task_id: id })).rejects.toMatchObject({ code: 'dead-letter-not-found' });
  });

  it('goes to another lane', async () => {
    const letters = await serveDeadLetters();
    expect(await letters.redrive({ task_id: await bury('up'), lane: 'HIGH' })).toMatchObject({ lane: 'high' });
    expect(await site.inLane(queue, 'up', 'high')).toBeDefined();
    expect(await letters.redrive({ task_id: await bury('down', { lane: 'critical' }) })).toMatchObject({ lane: 'critical' });
  });

  it('of a fifo queue goes to its only lane, and to no other', async () => {
    await site.queue({ name: queue, discipline: 'fifo' });
    await (await openQueueBucket(connection)).put(queue, { name: queue, discipline: 'fifo' });
    const letters = await serveDeadLetters();
    const id = await bury('only', { lane: 'high' });
    const rejected = { code: 'invalid-argument', message: expect.stringContaining('is fifo and takes no tasks of lane "low"') };
    await expect(letters.redrive({ task_id: id, lane: 'low' })).rejects.toMatchObject(rejected);
    await expect(letters.redrive({ task_id: id, lane: 'low', dry_run: true })).rejects.toMatchObject(rejected);
    await expect(letters.redrive({ filter: { queue_name: queue }, lane: 'low' })).rejects.toMatchObject(rejected);
    expect(await letters.redrive({ task_id: id })).toMatchObject({ hop: 2, lane: 'normal' });
    expect(await site.inLane(queue, 'only', 'normal')).toBeDefined();
  });

  it('takes another payload: any JSON, null too, or bytes', async () => {
    const letters = await serveDeadLetters();
    await letters.redrive({ task_id: await bury('edited', { headers: [['Content-Type', 'image/png']] }), task_data: { n: 2 } });
    expect([await bodyOf('edited'), (await headersOf('edited'))['Content-Type']]).toEqual(['{"n":2}', undefined]);
    await letters.redrive({ task_id: await bury('null'), task_data: null });
    expect(await bodyOf('null')).toBe('null');
    await letters.redrive({ task_id: await bury('bytes'), base64: 'Af8=', content_type: 'image/png' });
    expect([...((await site.inLane(queue, 'bytes'))?.data ?? [])]).toEqual([1, 255]);
    expect((await headersOf('bytes'))['Content-Type']).toBe('image/png');
  });

  it('a payload larger than the queue takes is refused, and the letter stays', async () => {
    const letters = await serveDeadLetters();
    await site.queue({ name: queue, lease: '1s', maxDeliveries: 5, maxPayload: 1000 });
    const id = await bury('large');
    await expect(letters.redrive({ task_id: id, task_data: 'x'.repeat(70_000) })).rejects.toMatchObject({ code: 'payload-too-large' });
    expect(await site.dead(queue, 'large')).toBeDefined();
  });

  it('a deadline that is over does not come along, one to come does', async () => {
    const letters = await serveDeadLetters();
    const future = String(Date.now() + 3_600_000);
    await letters.redrive({ task_id: await bury('late', { headers: [[HEADER.deadline, '1000']] }) });
    await letters.redrive({ task_id: await bury('early', { headers: [[HEADER.deadline, future]] }) });
    expect((await headersOf('late'))[HEADER.deadline]).toBeUndefined();
    expect((await headersOf('early'))[HEADER.deadline]).toBe(future);
  });

  it('a dry run tells and does nothing', async () => {
    const letters = await serveDeadLetters();
    const id = await bury('dry');
    expect(await letters.redrive({ task_id: id, dry_run: true, lane: 3 })).toEqual({
      task_id: id,
      hop: 2,
      lane: 'high',
      duplicate: false,
      dry_run: true,
    });
    expect(await site.dead(queue, 'dry')).toBeDefined();
    expect(await site.depth(queue)).toBe(0);
  });

  it('a full lane keeps the dead letter', async () => {
    const letters = await serveDeadLetters();
    await site.queue({ name: queue, lease: '1s', maxDeliveries: 5, maxDepth: 1 });
    const blocker = await site.enqueue(queue, 'blocker');
    const id = await bury('stays');
    await expect(letters.redrive({ task_id: id })).rejects.toMatchObject({ code: 'queue-full' });
    expect(await site.dead(queue, 'stays')).toBeDefined();
    await deleteMessage(connection, blocker.stream, blocker.seq);
    await letters.redrive({ task_id: id });
    expect(await site.takeAll(queue, 1)).toEqual(['stays#2']);
  });

  it('a task that lives on already is not published again: in its lane, as a timer, or finished', async () => {
    const letters = await serveDeadLetters();
    for (const key of ['lane', 'timer', 'finished']) await bury(key);
    await site.enqueue(queue, 'lane', { hop: 2 });
    await site.timer(queue, 'timer', { hop: 2, at: Date.now() + 3_600_000 });
    await site.store.writeRecord(queue, 'finished', { id: `${queue}.finished`, hop: 2, state: 'completed', attempt: 1, at: {} }, 60_000);
    for (const key of ['lane', 'timer', 'finished']) {
      expect(await letters.redrive({ task_id: `${queue}.${key}` }), key).toMatchObject({ hop: 2, duplicate: true });
      expect(await site.dead(queue, key)).toBeUndefined();
    }
    expect(await site.depth(queue)).toBe(1);
  });

  it('a remembered message id alone is not believed: the letter stays until the task has been seen', async () => {
    const letters = await serveDeadLetters();
    const id = await bury('ghost');
    const { stream, seq } = await site.enqueue(queue, 'ghost', { hop: 2 });
    await deleteMessage(connection, stream, seq);
    await expect(letters.redrive({ task_id: id })).rejects.toMatchObject({ code: 'publish-timeout', retryable: true });
    expect(await site.dead(queue, 'ghost')).toBeDefined();
  });

  it('removes the message the letter was made from, where a dead mover left it behind', async () => {
    const letters = await serveDeadLetters();
    const { seq } = await site.enqueue(queue, 'behind');
    await letters.redrive({ task_id: await bury('behind', { source: seq }) });
    expect(await site.depth(queue)).toBe(1);
    expect((await headersOf('behind'))['Task-Hop']).toBe('2');
  });

  it('twenty at once, on two copies of the service: one task', async () => {
    const copies = [await startDeadLetters(), await startDeadLetters()];
    const id = await bury('often');
    const results = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => copies[i % 2]!.redrive({ task_id: id }, 'ada')));
    expect(results.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThan(0);
    for (const result of results) if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'dead-letter-not-found' });
    expect(await site.takeAll(queue, 1)).toEqual(['often#2']);
    expect([await site.depth(queue), await site.dead(queue, 'often')]).toEqual([0, undefined]);
  });

  it.each<[object, string]>([
    [{}, 'task_id'],
    [{ task_id: 'q.k', filter: {} }, 'task_id'],
    [{ filter: {} }, 'filter'],
    [{ filter: { queue_name: 'q', colour: 1 } }, 'filter'],
    [{ filter: { queue_name: 'q' }, task_data: 1 }, 'task_data'],
    [{ filter: { queue_name: 'q' }, rate: 0 }, 'rate'],
    [{ filter: { queue_name: 'q' }, rate: 10_001 }, 'rate'],
    [{ filter: { queue_name: 'q' }, rate: Number.MAX_VALUE }, 'rate'],
    [{ filter: { queue_name: 'q' }, all: false }, 'all'],
    [{ task_id: 'q.k', rate: 5 }, 'rate'],
    [{ task_id: 'q.k', lane: 'urgent' }, 'lane'],
    [{ task_id: 'q.k', lane: 7 }, 'lane'],
    [{ task_id: 'q.k', task_data: 1, base64: 'AA==', content_type: 'a/b' }, 'base64'],
    [{ task_id: 'q.k', base64: '!', content_type: 'a/b' }, 'base64'],
    [{ task_id: 'q.k', base64: 'AA==' }, 'content_type'],
    [{ task_id: 'q.k', base64: 'AA==', content_type: 'a/b\r\nTask-Hop: 9' }, 'content_type'],
    [{ task_id: 'x'.repeat(301) }, 'task_id'],
  ])('refuses %j', async (input, path) => {
    const letters = await serveDeadLetters();
    await expect(letters.redrive(input as object)).rejects.toMatchObject({ code: 'invalid-argument', details: { issues: [{ path }] } });
  });
});
