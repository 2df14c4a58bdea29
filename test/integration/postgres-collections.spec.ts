import { column, createHandlers, type Database } from '@jetlane/postgres';
import { type PostgresServer, startPostgres } from '@jetlane/testing';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { freshDatabase, rejection, taskContext } from './postgres-fixture.js';

let server: PostgresServer;
let db: Database;
let run: Awaited<ReturnType<typeof freshDatabase>>['run'];

beforeAll(async () => {
  server = await startPostgres();
  ({ db, run } = await freshDatabase(server.url));
});
afterEach(async () => {
  await sql`truncate users, purchases, usages, adjustments, credit_scores, task_inbox`.execute(db);
});
afterAll(async () => {
  await db.destroy();
  await server.stop();
});

const insertUsers = (n: number) =>
  run('insert', {
    collection: 'users',
    data: Array.from({ length: n }, (_, i) => ({ id: `u${String(i).padStart(4, '0')}`, name: `n${i % 4}`, balance: i })),
  });
const ids = async (request: object) => {
  const { rows } = (await run('find', { collection: 'users', columns: ['id'], ...request })) as { rows: { id: string }[] };
  return rows.map((row) => row.id);
};
const issues = async (operation: string, data: unknown) => {
  const error = await rejection(run(operation, data));
  expect(error).toMatchObject({ name: 'FatalError', code: 'invalid-argument', retryable: false });
  return error.details?.issues as { path: string; message: string }[];
};

describe('insert', () => {
  it('writes one row or many and returns their keys', async () => {
    expect(await run('insert', { collection: 'users', data: { id: 'ann', name: 'Ann' } })).toEqual({ inserted: 1, keys: [{ id: 'ann' }] });
    expect(await run('insert', { collection: 'users', data: [{ id: 'b' }, { id: 'c', balance: 4 }] })).toMatchObject({ inserted: 2 });
    expect(await run('find', { collection: 'users', filter: { id: 'c' }, columns: ['id', 'name', 'balance'] })).toEqual({
      rows: [{ id: 'c', name: null, balance: 4 }],
      more: false,
    });
  });

  it('does it once per task', async () => {
    const data = { collection: 'users', data: { id: 'ann' } };
    const first = await run('insert', data, { key: 'k1' });
    expect(await run('insert', data, { key: 'k1', delivery: 2 })).toEqual(first);
  });

  it('is dead at once for a key that exists, and changes nothing', async () => {
    await run('insert', { collection: 'users', data: { id: 'ann' } });
    const error = await rejection(run('insert', { collection: 'users', data: [{ id: 'new' }, { id: 'ann' }] }));
    expect(error).toMatchObject({ name: 'FatalError', details: { reason: 'constraint-violation', sqlstate: '23505' } });
    expect(await ids({})).toEqual(['ann']);
  });
});

describe('upsert', () => {
  it('inserts new rows and changes the writable columns of the others', async () => {
    await run('insert', { collection: 'users', data: { id: 'ann', name: 'Ann', balance: 5 } });
    const data = [
      { id: 'ann', name: 'Anna', balance: 900 },
      { id: 'bob', name: 'Bob', balance: 3 },
    ];
    expect(await run('upsert', { collection: 'users', data })).toEqual({ upserted: 2, keys: [{ id: 'ann' }, { id: 'bob' }] });
    expect(await run('find', { collection: 'users', columns: ['id', 'name', 'balance'] })).toMatchObject({
      rows: [
        { id: 'ann', name: 'Anna', balance: 5 },
        { id: 'bob', name: 'Bob', balance: 3 },
      ],
    });
    expect(await run('upsert', { collection: 'users', data: { id: 'ann' } })).toMatchObject({ upserted: 1 });
  });
});

describe('update and delete', () => {
  it('touch the rows of the filter', async () => {
    await insertUsers(10);
    expect(await run('update', { collection: 'users', filter: { balance: { gte: 3, lt: 6 } }, data: { name: 'mid' } })).toEqual({
      updated: 3,
    });
    expect(await ids({ filter: { name: 'mid' } })).toEqual(['u0003', 'u0004', 'u0005']);
    expect(await run('delete', { collection: 'users', filter: { name: 'mid' } })).toEqual({ deleted: 3 });
    expect(await run('count', { collection: 'users' })).toEqual({ count: 7 });
  });

  it('change nothing when more rows match than the limit allows', async () => {
    await insertUsers(10);
    const error = await rejection(run('delete', { collection: 'users', filter: { balance: { gte: 0 } }, limit: 9 }));
    expect(error).toMatchObject({ name: 'FatalError', details: { reason: 'too-many-rows', rows: 10, limit: 9 } });
    await rejection(run('update', { collection: 'users', filter: { balance: { gte: 0 } }, data: { name: 'x' }, limit: 9 }));
    expect(await run('count', { collection: 'users', filter: { name: { ne: 'x' } } })).toEqual({ count: 10 });
  });

  it.each(['update', 'delete'])('%s without a condition is refused', async (operation) => {
    const data = operation === 'update' ? { data: { name: 'x' } } : {};
    for (const filter of [undefined, {}, null, [], 'id = id', { id: {} }, { id: { in: [] } }, { id: [] }]) {
      expect(await issues(operation, { collection: 'users', ...data, filter })).not.toEqual([]);
    }
  });

  it('keep the movements behind an account', async () => {
    await run('credit_purchase', { user_id: 'ann', amount: 5 });
    const error = await rejection(run('delete', { collection: 'users', filter: { id: 'ann' } }));
    expect(error).toMatchObject({ name: 'FatalError', details: { sqlstate: '23503' } });
  });
});

describe('find', () => {
  it('filters by every operator', async () => {
    await insertUsers(6);
    await run('insert', { collection: 'users', data: { id: 'zoe', balance: 99 } });
    expect(await ids({ filter: { balance: { eq: 2 } } })).toEqual(['u0002']);
    expect(await ids({ filter: { balance: { ne: 2, lte: 3 } } })).toEqual(['u0000', 'u0001', 'u0003']);
    expect(await ids({ filter: { balance: { gt: 3, lt: 50 } } })).toEqual(['u0004', 'u0005']);
    expect(await ids({ filter: { id: { in: ['u0001', 'zoe', 'none'] } } })).toEqual(['u0001', 'zoe']);
    expect(await ids({ filter: { name: null } })).toEqual(['zoe']);
    expect(await ids({ filter: { name: { ne: null }, balance: { gte: 5 } } })).toEqual(['u0005']);
    expect(await ids({ filter: { created_at: { lt: '2020-01-01T00:00:00Z' } } })).toEqual([]);
  });

  it('orders and pages without a gap', async () => {
    await insertUsers(10);
    expect(await ids({ order_by: { balance: 'desc' }, limit: 2 })).toEqual(['u0009', 'u0008']);
    const pages = await Promise.all([0, 4, 8].map((offset) => ids({ order_by: { name: 'asc' }, limit: 4, offset })));
    expect(new Set(pages.flat()).size).toBe(10);
  });

  it('caps its answer and says that there is more', async () => {
    await insertUsers(150);
    expect(await run('find', { collection: 'users' })).toMatchObject({ rows: { length: 100 }, more: true });
    expect(await run('find', { collection: 'users', limit: 150 })).toMatchObject({ rows: { length: 150 }, more: false });
    expect(await issues('find', { collection: 'users', limit: 1001 })).toMatchObject([{ path: 'limit' }]);
  });

  it('reads the movements, with times as ISO strings and amounts as numbers', async () => {
    await run('credit_purchase', { user_id: 'ann', amount: 5, price: '1.50' });
    const { rows } = (await run('find', { collection: 'purchases', filter: { user_id: 'ann' } })) as { rows: object[] };
    expect(rows).toMatchObject([{ amount: 5, price: '1.50', created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/) }]);
  });
});

describe('the allow-list', () => {
  const injection = 'id"; drop table users; --';

  it.each([
    ['task_inbox'],
    ['jetlane_migrations'],
    ['pg_catalog.pg_authid'],
    ['users; drop table users'],
    ['users" --'],
    ['constructor'],
    ['__proto__'],
    ['toString'],
    [''],
    [null],
    [7],
    [['users']],
  ])('refuses the collection %j', async (collection) => {
    for (const operation of ['insert', 'upsert'])
      expect(await issues(operation, { collection, data: { id: 'x' } })).toMatchObject([{ path: 'collection' }]);
    expect(await issues('update', { collection, data: { name: 'x' }, filter: { id: 'x' } })).toMatchObject([{ path: 'collection' }]);
    expect(await issues('delete', { collection, filter: { id: 'x' } })).toMatchObject([{ path: 'collection' }]);
    for (const operation of ['find', 'count']) expect(await issues(operation, { collection })).toMatchObject([{ path: 'collection' }]);
  });

  it('refuses columns that are not listed, wherever they are named', async () => {
    await insertUsers(1);
    const hostile = [injection, '__proto__', 'constructor', 'xmin', 'users.id', 'id', '*'].filter((name) => name !== 'id');
    for (const name of hostile) {
      const named = Object.fromEntries([[name, 'x']]);
      await issues('insert', { collection: 'users', data: { id: 'x', ...named, [name]: 'x' } });
      await issues('find', { collection: 'users', columns: [name] });
      await issues('find', { collection: 'users', filter: named });
      await issues('delete', { collection: 'users', filter: named });
      if (name !== '__proto__') await issues('find', { collection: 'users', order_by: { [name]: 'asc' } });
    }
    expect(await run('count', { collection: 'users' })).toEqual({ count: 1 });
  });

  it('does not lose an own "__proto__" key on the way to its refusal', async () => {
    const data = JSON.parse('{"collection":"users","filter":{"__proto__":"x"}}');
    expect(await issues('delete', data)).toMatchObject([{ path: 'filter' }]);
  });

  it('passes hostile values as values', async () => {
    const name = "'; drop table users; --";
    await run('insert', { collection: 'users', data: { id: name, name } });
    expect(await ids({ filter: { name } })).toEqual([name]);
    expect(await issues('find', { collection: 'users', filter: { id: { 'eq" or 1=1': 'x' } } })).toMatchObject([
      { path: 'filter.id.eq" or 1=1' },
    ]);
    expect(await issues('find', { collection: 'users', order_by: { id: 'asc; drop table users' } })).toMatchObject([
      { path: 'order_by.id' },
    ]);
    expect(await issues('find', { collection: 'users', filter: { id: { eq: { raw: '1' } } } })).not.toEqual([]);
    expect(await issues('find', { collection: 'users', filter: { id: 'a\0' } })).not.toEqual([]);
  });

  it('keeps balances to the credit handlers, and movements to reading', async () => {
    await insertUsers(1);
    expect(await issues('update', { collection: 'users', filter: { id: 'u0000' }, data: { balance: 1_000_000, id: 'y' } })).toEqual([
      { path: 'data.balance', message: 'column "balance" can be given to a new row only' },
      { path: 'data.id', message: 'column "id" can be given to a new row only' },
    ]);
    expect(await issues('insert', { collection: 'purchases', data: { user_id: 'u0000', amount: 5 } })).toEqual([
      { path: 'collection', message: 'collection "purchases" does not allow insert; it allows find, count' },
    ]);
    expect(await issues('insert', { collection: 'users', data: { id: 'x', created_at: '2020-01-01T00:00:00Z' } })).toMatchObject([
      { message: 'column "created_at" is read-only' },
    ]);
  });

  it('names all that is wrong, and the nearest right name', async () => {
    expect(await issues('find', { collection: 'user' })).toEqual([
      { path: 'collection', message: '"user" is not a collection; did you mean "users"?' },
    ]);
    const wrong = await issues('update', { collection: 'users', filter: { idd: 1, balance: 'x' }, data: { nam: 1, email: 5 } });
    expect(wrong.map(({ path }) => path)).toEqual(['data', 'data.email', 'filter', 'filter.balance']);
    expect(await issues('delete', { collection: 'users', filtre: { id: 'x' } })).toMatchObject([{ path: 'filter' }, { path: '' }]);
  });

  it('can be replaced by tables of one’s own', async () => {
    await sql`create table if not exists notes (slug text primary key, body text)`.execute(db);
    const handlers = createHandlers(db, {
      collections: {
        memos: {
          table: 'notes',
          key: ['slug'],
          columns: { slug: column.text('insert'), body: column.text('write') },
          operations: ['upsert', 'find'],
        },
      },
    });
    await handlers.upsert?.({ collection: 'memos', data: { slug: 'a', body: 'one' } }, taskContext('upsert'));
    await handlers.upsert?.({ collection: 'memos', data: { slug: 'a', body: 'two' } }, taskContext('upsert'));
    expect(await handlers.find?.({ collection: 'memos' }, taskContext('find'))).toEqual({
      rows: [{ slug: 'a', body: 'two' }],
      more: false,
    });
    expect(await rejection(Promise.resolve(handlers.find?.({ collection: 'users' }, taskContext('find'))))).toMatchObject({
      name: 'FatalError',
    });
  });
});
