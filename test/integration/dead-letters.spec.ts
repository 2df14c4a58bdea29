import type { DeadLetterPreview } from '@jetlane/protocol';
import { describe, expect, it } from 'vitest';
import type { DeadLetters } from '../../apps/resiliency/src/dead-letters.js';
import { bury, connection, keysOf, queue, site, startDeadLetters, useResiliency } from './resiliency-fixture.js';

useResiliency('letters');

const idsOf = (items: readonly { id: string }[]) => items.map(({ id }) => id.split('.')[1]);

async function readAll(letters: DeadLetters, input: object): Promise<{ keys: (string | undefined)[]; pages: number }> {
  const keys: (string | undefined)[] = [];
  let [after, pages]: [number | undefined, number] = [0, 0];
  for (; after !== undefined; pages++) {
    const page = await letters.list({ ...input, after });
    keys.push(...idsOf(page.items));
    after = page.next;
  }
  return { keys, pages };
}

describe('list', () => {
  it('shows what is known of a dead letter', async () => {
    const letters = await startDeadLetters();
    const history = '[{"attempt":1,"at":5,"name":"Error","message":"first"}]';
    await bury('one', {
      lane: 'high',
      headers: [
        ['Task-Errors', history],
        ['Task-Group', 'g'],
      ],
    });
    const { items, total, scanned } = await letters.list({ queue });
    expect({ total, scanned }).toEqual({ total: { count: 1, exact: true }, scanned: 1 });
    expect(items).toEqual([
      {
        id: `${queue}.one`,
        sequence: expect.any(Number),
        queue,
        lane: 'high',
        type: 'mail',
        group: 'g',
        hop: 1,
        attempt: 5,
        reason: 'attempts-exhausted',
        error: { name: 'Error', message: 'no luck' },
        history: [{ attempt: 1, at: 5, name: 'Error', message: 'first' }],
        fingerprint: expect.stringMatching(/^[0-9a-f]{8}$/),
        deadAt: expect.any(Number),
        storedAt: expect.any(Number),
        source: `letters_tasks_${queue}_high:7`,
        contentType: 'application/json',
        bytes: 13,
      },
    ]);
  });

  it('filters by queue, type, reason, fingerprint and time, alone and together', async () => {
    const letters = await startDeadLetters();
    await bury('a', { type: 'mail' });
    await bury('b', { type: 'sms', reason: 'poison' });
    await bury('c', { type: 'sms', message: 'another kind of failure' });
    await bury('d', { type: 'sms', queue: `${queue}-other` });
    const all = (await letters.list({ queue })).items;
    const [a, b, c] = all;
    const cases: [object, string[]][] = [
      [{}, ['a', 'b', 'c']],
      [{ type: 'sms' }, ['b', 'c']],
      [{ reason: 'poison' }, ['b']],
      [{ fingerprint: a?.fingerprint }, ['a']],
      [{ fingerprint: c?.fingerprint, type: 'sms' }, ['c']],
      [{ from: b?.storedAt }, all.filter(({ storedAt }) => storedAt >= (b?.storedAt ?? 0)).map(({ id }) => id.split('.')[1]!)],
      [{ to: b?.storedAt }, all.filter(({ storedAt }) => storedAt < (b?.storedAt ?? 0)).map(({ id }) => id.split('.')[1]!)],
      [{ from: new Date((c?.storedAt ?? 0) + 1000).toISOString() }, []],
      [{ type: 'none' }, []],
    ];
    for (const [filter, keys] of cases)
      expect(idsOf((await letters.list({ queue, ...filter })).items), JSON.stringify(filter)).toEqual(keys);
    expect(idsOf((await letters.list({ queue: `${queue}-other` })).items)).toEqual(['d']);
  });

  it('pages by a cursor, with and without filters of headers; nothing twice, nothing missing', async () => {
    const letters = await startDeadLetters();
    for (const key of keysOf(25)) await bury(key, { type: Number(key.slice(1)) % 5 === 0 ? 'rare' : 'mail' });
    expect(await readAll(letters, { queue, limit: 10 })).toEqual({ keys: keysOf(25), pages: 3 });
    expect((await readAll(letters, { queue, limit: 2, type: 'rare' })).keys).toEqual(['k0', 'k5', 'k10', 'k15', 'k20']);
    expect((await letters.list({ queue, limit: 3 })).total).toEqual({ count: 25, exact: true });
    expect((await letters.list({ queue, type: 'rare', limit: 2 })).total).toEqual({ count: 2, exact: false });
    expect((await letters.list({ queue, type: 'rare' })).total).toEqual({ count: 5, exact: true });
  });

  it('reads a bounded number per page: an empty page has a cursor to go on with', async () => {
    const letters = await startDeadLetters();
    const many = Array.from({ length: 11_000 }, (_, i) =>
      connection.publish(connection.names.dead(queue, `m${i}`), new Uint8Array(), 'NATS/1.0\r\nTask-Type: x\r\n\r\n'),
    );
    await Promise.all(many);
    await bury('needle', { type: 'needle' });
    const first = await letters.list({ queue, type: 'needle' });
    expect(first).toMatchObject({ items: [], total: { count: 0, exact: false }, next: expect.any(Number), scanned: 10_000 });
    expect(idsOf((await letters.list({ queue, type: 'needle', after: first.next })).items)).toEqual(['needle']);
    const preview = (await letters.redrive({ filter: { queue, type: 'needle' }, dryRun: true })) as DeadLetterPreview;
    expect(preview.matched).toEqual({ count: 1, exact: true });
    await (await connection.admin()).streams.purge(connection.names.deadLetters);
  });

  it('an answer fits into a message: a page of large letters ends early', async () => {
    const letters = await startDeadLetters();
    const error = 'ä'.repeat(900);
    const history = JSON.stringify([{ attempt: 1, at: 1, name: 'E', message: 'x'.repeat(5000) }]);
    for (const key of keysOf(100)) await bury(key, { message: error, headers: [['Task-Errors', history]] });
    const page = await letters.list({ queue, limit: 100 });
    expect(JSON.stringify(page).length).toBeLessThan(1_000_000);
    expect(page.items.length).toBeLessThan(100);
    expect((await readAll(letters, { queue, limit: 100 })).keys).toEqual(keysOf(100));
  });

  it('reads what a stranger wrote to the subject', async () => {
    const letters = await startDeadLetters();
    const headers =
      'NATS/1.0\r\nTask-Hop: x\r\nTask-Attempt: -3\r\nTask-Dead-At: NaN\r\nTask-Dead-Error: [1]\r\nTask-Errors: {}\r\nTask-Dead-Source: :\r\n\r\n';
    await connection.publish(connection.names.dead(queue, 'odd'), new Uint8Array([255]), headers);
    expect((await letters.list({ queue })).items).toMatchObject([
      { hop: 1, attempt: 1, reason: 'unknown', lane: 'normal', history: [], bytes: 1 },
    ]);
    expect(await letters.get({ id: `${queue}.odd` })).toMatchObject({ base64: '/w==' });
  });

  it.each([
    [{ limit: 0 }, 'limit'],
    [{ limit: 1001 }, 'limit'],
    [{ after: -1 }, 'after'],
    [{ after: 1.5 }, 'after'],
    [{ queue: 'A.>' }, 'queue'],
    [{ queue: '*' }, 'queue'],
    [{ from: 'yesterday' }, 'from'],
    [{ from: 1e300 }, 'from'],
    [{ to: -1 }, 'to'],
    [{ type: '' }, 'type'],
    [{ tpye: 'x' }, ''],
    [[], ''],
    ['x', ''],
  ])('refuses %j', async (input, path) => {
    const letters = await startDeadLetters();
    await expect(letters.list(input)).rejects.toMatchObject({ code: 'invalid-argument', details: { issues: [{ path }] } });
  });
});

describe('get and export', () => {
  it('gives the payload: JSON as a value, anything else as bytes', async () => {
    const letters = await startDeadLetters();
    await bury('json', { body: '{"n":1}' });
    await bury('broken', { body: '{"n":' });
    await bury('bytes', { body: new Uint8Array([1, 255]), headers: [['Content-Type', 'image/png']] });
    expect(await letters.get({ id: `${queue}.json` })).toMatchObject({ data: { n: 1 }, contentType: 'application/json' });
    expect(await letters.get({ id: `${queue}.broken` })).toMatchObject({ base64: 'eyJuIjo=' });
    expect(await letters.get({ id: `${queue}.bytes` })).toMatchObject({ base64: 'Af8=', contentType: 'image/png' });
    const { ndjson, count, next } = await letters.export({ queue });
    expect({ count, next }).toEqual({ count: 3, next: undefined });
    expect(ndjson.endsWith('\n')).toBe(true);
    expect(
      ndjson
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { id: string }).id),
    ).toEqual(['json', 'broken', 'bytes'].map((key) => `${queue}.${key}`));
  });

  it('says what is not there, and what is no id', async () => {
    const letters = await startDeadLetters();
    await expect(letters.get({ id: `${queue}.none` })).rejects.toMatchObject({ code: 'dead-letter-not-found' });
    for (const id of ['', `${queue}.*`, `${queue}.>`, '.', `${queue}. `, `${queue}..a`, 'x'.repeat(301)])
      await expect(letters.get({ id }), id).rejects.toMatchObject({ code: 'invalid-argument' });
    for (const input of [{}, { id: 5 }, null, undefined])
      await expect(letters.get(input)).rejects.toMatchObject({ code: 'invalid-argument' });
  });
});

describe('discard', () => {
  it('removes the letter; the status stays dead and says when it was discarded', async () => {
    const letters = await startDeadLetters();
    const id = await bury('away', { headers: [['Task-Errors', '[{"attempt":1,"at":5,"name":"Error","message":"first"}]']] });
    expect(await letters.discard({ id, dryRun: true })).toEqual({ id, discarded: false, dryRun: true });
    expect(await site.dead(queue, 'away')).toBeDefined();
    expect(await letters.discard({ id, by: 'ada' })).toEqual({ id, discarded: true });
    expect(await site.dead(queue, 'away')).toBeUndefined();
    const { record } = await site.store.record(queue, 'away');
    expect(record).toMatchObject({ id, hop: 1, state: 'dead', reason: 'attempts-exhausted', history: [{ message: 'first' }] });
    expect(record?.at.discarded).toBeGreaterThan(Date.now() - 60_000);
    await expect(letters.discard({ id })).rejects.toMatchObject({ code: 'dead-letter-not-found' });
  });

  it('leaves the record of a task that went on', async () => {
    const letters = await startDeadLetters();
    const id = await bury('went-on');
    await site.store.writeRecord(queue, 'went-on', { id, hop: 2, state: 'completed', attempt: 1, at: {} }, 60_000);
    await letters.discard({ id });
    expect((await site.store.record(queue, 'went-on')).record).toMatchObject({ hop: 2, state: 'completed' });
    expect(await site.dead(queue, 'went-on')).toBeUndefined();
  });
});

describe('what a stranger wrote', () => {
  it('can be shown and discarded, whatever its subject; redriven, if it is a task', async () => {
    const letters = await startDeadLetters();
    const odd = `${queue}.a"b'ä`;
    const ids = [odd, queue, `${queue}.b.c`];
    for (const id of ids) await connection.publish(connection.names.pattern(`dead.${id}`), '{}');
    for (const id of ids) expect(await letters.get({ id })).toMatchObject({ id, queue });
    await expect(letters.redrive({ id: queue })).rejects.toMatchObject({ code: 'invalid-argument' });
    expect(await letters.redrive({ id: odd })).toMatchObject({ id: odd, hop: 2 });
    expect(await site.takeAll(queue, 1)).toEqual([`a"b'ä#2`]);
    for (const id of ids.slice(1)) expect(await letters.discard({ id })).toEqual({ id, discarded: true });
    expect((await letters.list({ reason: 'unknown', queue })).items).toEqual([]);
  });
});

describe('a deleted queue', () => {
  const gone = 'gone';

  it('its dead letters can be listed, exported and discarded; a redrive says that the queue is unknown', async () => {
    const letters = await startDeadLetters();
    const id = await bury('left', { queue: gone, reason: 'of-the-gone' });
    expect(idsOf((await letters.list({ queue: gone })).items)).toEqual(['left']);
    expect((await letters.export({ queue: gone })).count).toBe(1);
    await expect(letters.redrive({ id })).rejects.toMatchObject({ code: 'unknown-queue' });
    await expect(letters.redrive({ filter: { queue: gone } })).rejects.toMatchObject({ code: 'unknown-queue' });
    const preview = (await letters.redrive({ filter: { reason: 'of-the-gone' }, dryRun: true })) as DeadLetterPreview;
    expect(preview.sample.find((letter) => letter.id === id)?.problem).toBe('unknown-queue');
    expect(await letters.discard({ id })).toEqual({ id, discarded: true });
  });
});
