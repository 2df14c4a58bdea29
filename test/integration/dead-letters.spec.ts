import { DeadLetterAdmin, type JetlaneAdmin } from '@jetlane/client';
import { describe, expect, it } from 'vitest';
import { bury, connection, keysOf, queue, serveDeadLetters, site, useResiliency } from './resiliency-fixture.js';

useResiliency('letters');

type Letters = JetlaneAdmin['deadLetters'];
const idsOf = (items: readonly { task_id: string }[]) => items.map(({ task_id }) => task_id.split('.')[1]);

async function readAll(letters: Letters, input: Parameters<Letters['list']>[0]): Promise<{ keys: (string | undefined)[]; pages: number }> {
  const keys: (string | undefined)[] = [];
  let [cursor, pages]: [number | undefined, number] = [0, 0];
  for (; cursor !== undefined; pages++) {
    const page = await letters.list({ ...input, cursor });
    keys.push(...idsOf(page.items));
    cursor = page.cursor;
  }
  return { keys, pages };
}

describe('list', () => {
  it('shows what is known of a dead letter', async () => {
    const letters = await serveDeadLetters();
    const history = '[{"attempt":1,"at":5,"name":"Error","message":"first"}]';
    await bury('one', {
      lane: 'high',
      headers: [
        ['Task-Errors', history],
        ['Task-Group', 'g'],
      ],
    });
    const { items, total, scanned } = await letters.list({ queue_name: queue });
    expect({ total, scanned }).toEqual({ total: { count: 1, exact: true }, scanned: 1 });
    expect(items).toEqual([
      {
        task_id: `${queue}.one`,
        sequence: expect.any(Number),
        queue_name: queue,
        lane: 'high',
        task_type: 'mail',
        group: 'g',
        hop: 1,
        attempt: 5,
        reason: 'attempts-exhausted',
        error: { name: 'Error', message: 'no luck' },
        history: [{ attempt: 1, at: 5, name: 'Error', message: 'first' }],
        fingerprint: expect.stringMatching(/^[0-9a-f]{8}$/),
        dead_at: expect.any(Number),
        stored_at: expect.any(Number),
        source: `letters_tasks_${queue}_high:7`,
        content_type: 'application/json',
        bytes: 13,
      },
    ]);
  });

  it('filters by queue, type, reason, fingerprint and time, alone and together', async () => {
    const letters = await serveDeadLetters();
    await bury('a', { type: 'mail' });
    await bury('b', { type: 'sms', reason: 'poison' });
    await bury('c', { type: 'sms', message: 'another kind of failure' });
    await bury('d', { type: 'sms', queue: `${queue}-other` });
    const all = (await letters.list({ queue_name: queue })).items;
    const [a, b, c] = all;
    const cases: [object, string[]][] = [
      [{}, ['a', 'b', 'c']],
      [{ task_type: 'sms' }, ['b', 'c']],
      [{ reason: 'poison' }, ['b']],
      [{ fingerprint: a?.fingerprint }, ['a']],
      [{ fingerprint: c?.fingerprint, task_type: 'sms' }, ['c']],
      [
        { from: b?.stored_at },
        all.filter(({ stored_at }) => stored_at >= (b?.stored_at ?? 0)).map(({ task_id }) => task_id.split('.')[1]!),
      ],
      [{ to: b?.stored_at }, all.filter(({ stored_at }) => stored_at < (b?.stored_at ?? 0)).map(({ task_id }) => task_id.split('.')[1]!)],
      [{ from: new Date((c?.stored_at ?? 0) + 1000).toISOString() }, []],
      [{ task_type: 'none' }, []],
    ];
    for (const [filter, keys] of cases)
      expect(idsOf((await letters.list({ queue_name: queue, ...filter })).items), JSON.stringify(filter)).toEqual(keys);
    expect(idsOf((await letters.list({ queue_name: `${queue}-other` })).items)).toEqual(['d']);
  });

  it('pages by a cursor, with and without filters of headers; nothing twice, nothing missing', async () => {
    const letters = await serveDeadLetters();
    for (const key of keysOf(25)) await bury(key, { type: Number(key.slice(1)) % 5 === 0 ? 'rare' : 'mail' });
    expect(await readAll(letters, { queue_name: queue, limit: 10 })).toEqual({ keys: keysOf(25), pages: 3 });
    expect((await readAll(letters, { queue_name: queue, limit: 2, task_type: 'rare' })).keys).toEqual(['k0', 'k5', 'k10', 'k15', 'k20']);
    expect((await letters.list({ queue_name: queue, limit: 3 })).total).toEqual({ count: 25, exact: true });
    expect((await letters.list({ queue_name: queue, task_type: 'rare', limit: 2 })).total).toEqual({ count: 2, exact: false });
    expect((await letters.list({ queue_name: queue, task_type: 'rare' })).total).toEqual({ count: 5, exact: true });
  });

  it('reads a bounded number per page: an empty page has a cursor to go on with', async () => {
    const letters = await serveDeadLetters();
    const many = Array.from({ length: 11_000 }, (_, i) =>
      connection.publish(connection.names.dead(queue, `m${i}`), new Uint8Array(), 'NATS/1.0\r\nTask-Type: x\r\n\r\n'),
    );
    await Promise.all(many);
    await bury('needle', { type: 'needle' });
    const first = await letters.list({ queue_name: queue, task_type: 'needle' });
    expect(first).toMatchObject({ items: [], total: { count: 0, exact: false }, cursor: expect.any(Number), scanned: 10_000 });
    expect(idsOf((await letters.list({ queue_name: queue, task_type: 'needle', cursor: first.cursor })).items)).toEqual(['needle']);
    const preview = await letters.redrive({ filter: { queue_name: queue, task_type: 'needle' }, dry_run: true });
    expect(preview).toMatchObject({ matched: { count: 1, exact: true } });
    await (await connection.admin()).streams.purge(connection.names.deadLetters);
  });

  it('an answer fits into a message: a page of large letters ends early', async () => {
    const letters = await serveDeadLetters();
    const error = 'ä'.repeat(900);
    const history = JSON.stringify([{ attempt: 1, at: 1, name: 'E', message: 'x'.repeat(5000) }]);
    for (const key of keysOf(100)) await bury(key, { message: error, headers: [['Task-Errors', history]] });
    const page = await letters.list({ queue_name: queue, limit: 100 });
    expect(JSON.stringify(page).length).toBeLessThan(1_000_000);
    expect(page.items.length).toBeLessThan(100);
    expect((await readAll(letters, { queue_name: queue, limit: 100 })).keys).toEqual(keysOf(100));
  });

  it('reads what a stranger wrote to the subject', async () => {
    const letters = await serveDeadLetters();
    const headers =
      'NATS/1.0\r\nTask-Hop: x\r\nTask-Attempt: -3\r\nTask-Dead-At: NaN\r\nTask-Dead-Error: [1]\r\nTask-Errors: {}\r\nTask-Dead-Source: :\r\n\r\n';
    await connection.publish(connection.names.dead(queue, 'odd'), new Uint8Array([255]), headers);
    expect((await letters.list({ queue_name: queue })).items).toMatchObject([
      { hop: 1, attempt: 1, reason: 'unknown', lane: 'normal', history: [], bytes: 1 },
    ]);
    expect(await letters.get({ task_id: `${queue}.odd` })).toMatchObject({ base64: '/w==' });
  });

  it.each([
    [{ limit: 0 }, 'limit'],
    [{ limit: 1001 }, 'limit'],
    [{ cursor: -1 }, 'cursor'],
    [{ cursor: 1.5 }, 'cursor'],
    [{ queue_name: 'A.>' }, 'queue_name'],
    [{ queue_name: '*' }, 'queue_name'],
    [{ from: 'yesterday' }, 'from'],
    [{ from: 1e300 }, 'from'],
    [{ to: -1 }, 'to'],
    [{ task_type: '' }, 'task_type'],
    [{ tpye: 'x' }, ''],
    [[], ''],
    ['x', ''],
  ])('refuses %j', async (input, path) => {
    const letters = await serveDeadLetters();
    await expect(letters.list(input as object)).rejects.toMatchObject({ code: 'invalid-argument', details: { issues: [{ path }] } });
  });
});

describe('get and export', () => {
  it('gives the payload: JSON as a value, anything else as bytes', async () => {
    const letters = await serveDeadLetters();
    await bury('json', { body: '{"n":1}' });
    await bury('broken', { body: '{"n":' });
    await bury('bytes', { body: new Uint8Array([1, 255]), headers: [['Content-Type', 'image/png']] });
    expect(await letters.get({ task_id: `${queue}.json` })).toMatchObject({ task_data: { n: 1 }, content_type: 'application/json' });
    expect(await letters.get({ task_id: `${queue}.broken` })).toMatchObject({ base64: 'eyJuIjo=' });
    expect(await letters.get({ task_id: `${queue}.bytes` })).toMatchObject({ base64: 'Af8=', content_type: 'image/png' });
    const exported: string[] = [];
    for await (const letter of new DeadLetterAdmin(connection).export({ queue })) exported.push(letter.id);
    expect(exported).toEqual(['json', 'broken', 'bytes'].map((key) => `${queue}.${key}`));
  });

  it('says what is not there, and what is no id', async () => {
    const letters = await serveDeadLetters();
    await expect(letters.get({ task_id: `${queue}.none` })).rejects.toMatchObject({ code: 'dead-letter-not-found' });
    for (const id of ['', `${queue}.*`, `${queue}.>`, '.', `${queue}. `, `${queue}..a`, 'x'.repeat(301)])
      await expect(letters.get({ task_id: id }), id).rejects.toMatchObject({ code: 'invalid-argument' });
    for (const input of [{}, { task_id: 5 }, { id: `${queue}.none` }, null, undefined] as unknown[])
      await expect(letters.get(input as { task_id: string })).rejects.toMatchObject({ code: 'invalid-argument' });
  });
});

describe('discard', () => {
  it('removes the letter; the status stays dead and says when it was discarded', async () => {
    const letters = await serveDeadLetters();
    const id = await bury('away', { headers: [['Task-Errors', '[{"attempt":1,"at":5,"name":"Error","message":"first"}]']] });
    expect(await letters.discard({ task_id: id, dry_run: true })).toEqual({ task_id: id, discarded: false, dry_run: true });
    expect(await site.dead(queue, 'away')).toBeDefined();
    expect(await letters.discard({ task_id: id })).toEqual({ task_id: id, discarded: true });
    expect(await site.dead(queue, 'away')).toBeUndefined();
    const { record } = await site.store.record(queue, 'away');
    expect(record).toMatchObject({ id, hop: 1, state: 'dead', reason: 'attempts-exhausted', history: [{ message: 'first' }] });
    expect(record?.at.discarded).toBeGreaterThan(Date.now() - 60_000);
    await expect(letters.discard({ task_id: id })).rejects.toMatchObject({ code: 'dead-letter-not-found' });
  });

  it('leaves the record of a task that went on', async () => {
    const letters = await serveDeadLetters();
    const id = await bury('went-on');
    await site.store.writeRecord(queue, 'went-on', { id, hop: 2, state: 'completed', attempt: 1, at: {} }, 60_000);
    await letters.discard({ task_id: id });
    expect((await site.store.record(queue, 'went-on')).record).toMatchObject({ hop: 2, state: 'completed' });
    expect(await site.dead(queue, 'went-on')).toBeUndefined();
  });
});

describe('what a stranger wrote', () => {
  it('can be shown and discarded, whatever its subject; redriven, if it is a task', async () => {
    const letters = await serveDeadLetters();
    const odd = `${queue}.a"b'ä`;
    const ids = [odd, queue, `${queue}.b.c`];
    for (const id of ids) await connection.publish(connection.names.pattern(`dead.${id}`), '{}');
    for (const id of ids) expect(await letters.get({ task_id: id })).toMatchObject({ task_id: id, queue_name: queue });
    await expect(letters.redrive({ task_id: queue })).rejects.toMatchObject({ code: 'invalid-argument' });
    expect(await letters.redrive({ task_id: odd })).toMatchObject({ task_id: odd, hop: 2 });
    expect(await site.takeAll(queue, 1)).toEqual([`a"b'ä#2`]);
    for (const id of ids.slice(1)) expect(await letters.discard({ task_id: id })).toEqual({ task_id: id, discarded: true });
    expect((await letters.list({ reason: 'unknown', queue_name: queue })).items).toEqual([]);
  });
});

describe('a deleted queue', () => {
  const gone = 'gone';

  it('its dead letters can be listed, exported and discarded; a redrive says that the queue is unknown', async () => {
    const letters = await serveDeadLetters();
    const id = await bury('left', { queue: gone, reason: 'of-the-gone' });
    expect(idsOf((await letters.list({ queue_name: gone })).items)).toEqual(['left']);
    const exported = new DeadLetterAdmin(connection).export({ queue: gone });
    expect(await exported.next()).toMatchObject({ value: { id } });
    expect(await exported.next()).toMatchObject({ done: true });
    await expect(letters.redrive({ task_id: id })).rejects.toMatchObject({ code: 'unknown-queue' });
    await expect(letters.redrive({ filter: { queue_name: gone } })).rejects.toMatchObject({ code: 'unknown-queue' });
    const preview = await letters.redrive({ filter: { reason: 'of-the-gone' }, dry_run: true });
    const problem = { task_id: id, problem: 'unknown-queue' };
    expect(preview).toMatchObject({ sample: expect.arrayContaining([expect.objectContaining(problem)]) });
    expect(await letters.discard({ task_id: id })).toEqual({ task_id: id, discarded: true });
  });
});
