import { type DeadLetterAdmin, TaskClient } from '@jetlane/client';
import type { DeadLetterFilter, DeadLetterJob } from '@jetlane/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { bury, connection, keysOf, queue, serveDeadLetters, site, useResiliency } from './resiliency-fixture.js';
import { eventually } from './services-fixture.js';

useResiliency('lclient');

let letters: DeadLetterAdmin;
const told: { event: string; by?: string; id?: string }[] = [];
const log = { info: (facts: object, event: string) => void told.push({ event, ...facts }), warn: () => undefined };

beforeEach(async () => {
  letters = new TaskClient(connection).deadLetters;
  told.length = 0;
});

async function ended(id: string): Promise<DeadLetterJob> {
  await eventually('the job has ended', async () => (await letters.job(id)).state !== 'running', 20_000);
  return letters.job(id);
}

describe('one dead letter', () => {
  it('is redriven: as it was, into another lane, with JSON, with null and with bytes', async () => {
    await serveDeadLetters();
    expect(await letters.redrive(await bury('plain'))).toEqual({ id: `${queue}.plain`, hop: 2, lane: 'normal', duplicate: false });
    expect(await letters.redrive(await bury('json'), { lane: 'high', data: { n: 2 } })).toMatchObject({ lane: 'high' });
    await letters.redrive(await bury('null'), { data: null });
    await letters.redrive(await bury('bytes'), { data: new Uint8Array([1, 255]), contentType: 'image/png' });
    const bodyOf = async (key: string, lane: 'normal' | 'high' = 'normal') => [...((await site.inLane(queue, key, lane))?.data ?? [])];
    const text = (body: number[]) => Buffer.from(body).toString();
    expect(text(await bodyOf('plain'))).toBe('{"key":"plain"}');
    expect(text(await bodyOf('json', 'high'))).toBe('{"n":2}');
    expect(text(await bodyOf('null'))).toBe('null');
    expect(await bodyOf('bytes')).toEqual([1, 255]);
    expect((await site.inLane(queue, 'bytes', 'normal'))?.headers).toContainEqual(['Content-Type', 'image/png']);
  });

  it('is previewed, and then thrown away', async () => {
    await serveDeadLetters();
    const id = await bury('away');
    const preview = { id, hop: 2, lane: 'low', duplicate: false, dryRun: true };
    expect(await letters.previewRedrive(id, { lane: 'low' })).toEqual(preview);
    expect(await site.dead(queue, 'away')).toBeDefined();
    expect(await letters.discard(id)).toEqual({ id, discarded: true });
    expect(await site.dead(queue, 'away')).toBeUndefined();
    const calls = [() => letters.discard(id), () => letters.redrive(id), () => letters.get(id)];
    for (const call of calls) await expect(call()).rejects.toMatchObject({ code: 'dead-letter-not-found' });
  });

  it('who asks is in the log, in any script', async () => {
    await serveDeadLetters({ log });
    const [one, two, three] = [await bury('one'), await bury('two'), await bury('three')];
    await letters.redrive(one, { by: 'Jörg 岡' });
    await letters.discard(two, { by: 'ada' });
    await letters.discard(three);
    expect(told.map(({ event, id, by }) => [event, id, by])).toEqual([
      ['dead-letter:redriven', one, 'Jörg 岡'],
      ['dead-letter:discarded', two, 'ada'],
      ['dead-letter:discarded', three, 'unknown'],
    ]);
  });
});

describe('many dead letters', () => {
  it('are previewed: the sample tells of each what the list does', async () => {
    await serveDeadLetters();
    const history = '[{"attempt":1,"at":5,"name":"Error","message":"first","worker":"w"}]';
    for (const key of keysOf(2)) await bury(key, { lane: 'high', headers: [['Task-Errors', history]] });
    await bury('other', { type: 'sms' });
    const { items } = await letters.list({ queue, type: 'mail' });
    const expected = { dryRun: true, matched: { count: 2, exact: true }, sample: items };
    expect(await letters.previewRedriveAll({ queue, type: 'mail' })).toStrictEqual(expected);
    expect(await letters.previewDiscardAll({ queue, type: 'mail' }, { after: 0 })).toStrictEqual(expected);
    await bury('left', { queue: `${queue}-gone`, type: 'left' });
    expect(await letters.previewRedriveAll({ type: 'left', queue: `${queue}-gone` }).catch((error: unknown) => error)).toMatchObject({
      code: 'unknown-queue',
    });
    expect((await letters.previewRedriveAll({ type: 'left' })).sample).toMatchObject([{ problem: 'unknown-queue' }]);
    expect((await letters.list({ queue })).items).toHaveLength(3);
  });

  it('are redriven by a job, which tells what it does and who began it', async () => {
    await serveDeadLetters();
    for (const key of keysOf(6)) await bury(key, { type: key < 'k4' ? 'mail' : 'sms' });
    const from = (await letters.list({ queue })).items[0]!.storedAt;
    const filter = { queue, type: 'mail', reason: 'attempts-exhausted', from };
    const begun = await letters.redriveAll(filter, { lane: 'low', rate: 500, after: 0, by: 'ada' });
    const always = { id: begun.id, kind: 'redrive', filter, lane: 'low', rate: 500, by: 'ada', failures: [], failed: 0 };
    const ms = { startedAt: expect.any(Number), updatedAt: expect.any(Number), until: expect.any(Number) };
    const left = { count: 0, exact: false };
    expect(begun).toStrictEqual({ ...always, ...ms, state: 'running', moved: 0, skipped: 0, cursor: 0, left });
    const done = await ended(begun.id);
    const end = { ...always, ...ms, state: 'completed', moved: 4, skipped: 0, cursor: expect.any(Number), left: { count: 0, exact: true } };
    expect(done).toStrictEqual(end);
    expect((await letters.jobs()).find(({ id }) => id === begun.id)).toStrictEqual(done);
    expect((await letters.list({ queue })).items.map(({ type }) => type)).toEqual(['sms', 'sms']);
  });

  it('a job that could not move some says which and why; one that stopped says where to go on', async () => {
    await serveDeadLetters();
    await site.queue({ name: queue, lease: '1s', maxDeliveries: 5, maxDepth: 2 });
    await bury('left', { queue: `${queue}-gone`, type: 'mixed' });
    for (const key of keysOf(3)) await bury(key, { type: 'mixed' });
    const { items } = await letters.list({ type: 'mixed' });
    const stopped = await ended((await letters.redriveAll({ type: 'mixed' }, { rate: 20 })).id);
    expect(stopped).toMatchObject({ state: 'stopped', moved: 2, error: { code: 'queue-full', message: expect.stringContaining(queue) } });
    expect(stopped.failures).toEqual([{ id: `${queue}-gone.left`, code: 'unknown-queue', message: expect.any(String) }]);
    expect(stopped.cursor).toBeLessThan(items.at(-1)!.sequence);
    await site.takeAll(queue, 2);
    const rest = await ended((await letters.redriveAll({ type: 'mixed' }, { after: stopped.cursor })).id);
    expect(rest).toMatchObject({ state: 'completed', moved: 1, failed: 0 });
  });

  it('are thrown away by a job; a job is cancelled', async () => {
    await serveDeadLetters({ log });
    for (const key of keysOf(5)) await bury(key, { reason: key === 'k0' ? 'poison' : 'fatal' });
    const job = await letters.discardAll({ queue, reason: 'poison' }, { by: 'bob' });
    expect(await ended(job.id)).toMatchObject({ kind: 'discard', state: 'completed', moved: 1, by: 'bob' });
    expect(told).toContainEqual(expect.objectContaining({ event: 'dead-letter:discarded', job: job.id, by: 'bob' }));
    const slow = await letters.redriveAll({ queue }, { rate: 0.1 });
    expect(await letters.cancelJob(slow.id)).toMatchObject({ id: slow.id, filter: { queue } });
    expect((await ended(slow.id)).state).toBe('cancelled');
    await expect(letters.cancelJob('none')).rejects.toMatchObject({ code: 'job-not-found' });
  });
});

describe('a wrong call', () => {
  it.each<[string, (id: string) => Promise<unknown>, object]>([
    ['a field that no filter has', () => letters.discardAll({ queue, tpye: 'x' } as DeadLetterFilter), { code: 'invalid-argument' }],
    ['an option that there is not', (id) => letters.redrive(id, { dryRun: true } as object), { code: 'invalid-argument' }],
    ['no condition', () => letters.discardAll({}), { code: 'invalid-argument' }],
    ['a condition that is undefined', () => letters.discardAll({ queue: undefined }), { code: 'invalid-argument' }],
    ['bytes without a content type', (id) => letters.redrive(id, { data: new Uint8Array(1) }), { code: 'invalid-argument' }],
    ['a content type without bytes', (id) => letters.redrive(id, { data: 1, contentType: 'a/b' }), { code: 'invalid-argument' }],
    ['a name on two lines', (id) => letters.discard(id, { by: 'ada\r\nTask-Hop: 9' }), { code: 'invalid-headers' }],
  ])('%s is refused, and does nothing', async (_, call, error) => {
    await serveDeadLetters({ log });
    const id = await bury('stays');
    await expect(call(id)).rejects.toMatchObject(error);
    expect(await site.dead(queue, 'stays')).toBeDefined();
    expect(told).toEqual([]);
  });
});

describe('without the service', () => {
  it('letters can be read; a change says who does not answer', async () => {
    const id = await bury('alone');
    expect((await letters.list({ queue })).items).toMatchObject([{ id }]);
    expect(await letters.get(id)).toMatchObject({ id, data: { key: 'alone' } });
    const down = { code: 'service-unavailable', retryable: true, details: { service: 'resiliency' } };
    await expect(letters.redrive(id)).rejects.toMatchObject(down);
    await expect(letters.jobs()).rejects.toMatchObject(down);
  });
});
