import { createDatabase, type Database, InboxJanitor, isDatabaseAway, migrate, purgeInbox, withInbox } from '@jetlane/postgres';
import { type PostgresServer, startPostgres, waitUntil } from '@jetlane/testing';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { deferred, emptyDatabase, freshDatabase, rejection, taskContext } from './postgres-fixture.js';

let server: PostgresServer;
const open: Database[] = [];

beforeAll(async () => {
  server = await startPostgres();
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((db) => db.destroy()));
});
afterAll(async () => {
  await server.stop();
});

async function database(options = {}): Promise<Database> {
  const { db } = await freshDatabase(server.url, options);
  open.push(db);
  await db.insertInto('users').values({ id: 'ann', balance: 100 }).execute();
  return db;
}

const addTen = (db: Database) =>
  db
    .updateTable('users')
    .set((eb) => ({ balance: eb('balance', '+', 10) }))
    .where('id', '=', 'ann')
    .returning('balance')
    .executeTakeFirstOrThrow();
const balance = async (db: Database) =>
  (await db.selectFrom('users').select('balance').where('id', '=', 'ann').executeTakeFirstOrThrow()).balance;
const inboxRows = async (db: Database) => await db.selectFrom('task_inbox').selectAll().orderBy('task_id').execute();

describe('migrate', () => {
  it('runs once, however many processes start together', async () => {
    const { db, url } = await emptyDatabase(server.url);
    const pools = [db, ...Array.from({ length: 7 }, () => createDatabase(url))];
    open.push(...pools);
    const ran = await Promise.all(pools.map((pool) => migrate(pool)));
    expect(ran.filter((names) => names.length > 0)).toEqual([['0001-inbox', '0002-accounts', '0003-inbox-payload']]);
    expect(await migrate(db)).toEqual([]);
  });

  it('leaves nothing behind when a step fails', async () => {
    const { db } = await emptyDatabase(server.url);
    open.push(db);
    await sql`create table users (id text primary key)`.execute(db);
    await expect(migrate(db)).rejects.toThrow(/"users" already exists/);
    await expect(sql`select * from task_inbox`.execute(db)).rejects.toThrow(/does not exist/);
  });

  it('accepts a database that a newer version has migrated', async () => {
    const db = await database();
    await sql`insert into jetlane_migrations (name) values ('9999-from-the-future')`.execute(db);
    expect(await migrate(db)).toEqual([]);
  });
});

describe('withInbox', () => {
  it('refuses an id that comes again with another payload, and keeps namespaces apart', async () => {
    const db = await database();
    const task = taskContext('reused');
    const add = (payload: unknown, scope?: string) => withInbox(db, task, (trx) => addTen(trx), { payload, ...(scope ? { scope } : {}) });
    await add({ amount: 10 });
    await add({ amount: 10 });
    await expect(add({ amount: 999 })).rejects.toMatchObject({ name: 'FatalError', code: 'idempotency-conflict' });
    expect(await balance(db)).toBe(110);
    await add({ amount: 999 }, 'other');
    expect(await balance(db)).toBe(120);
  });

  it('runs a task once under 20 concurrent runs, and all get its result', async () => {
    const db = await database({ maxConnections: 21 });
    const task = taskContext('bonus');
    let runs = 0;
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        withInbox(db, { ...task, attempt: i + 1 }, async (trx) => {
          runs++;
          const row = await addTen(trx);
          await waitsForLock(db);
          return row;
        }),
      ),
    );
    expect(runs).toBe(1);
    expect(results).toEqual(Array(20).fill({ balance: 110 }));
    expect(await balance(db)).toBe(110);
  });

  it('returns the stored result to a redelivery and to a later hop', async () => {
    const db = await database();
    const task = taskContext('bonus');
    await withInbox(db, task, addTen);
    expect(await withInbox(db, { ...task, hop: 3, attempt: 2 }, addTen)).toEqual({ balance: 110 });
    expect(await inboxRows(db)).toMatchObject([{ task_id: task.id, hop: 1, attempt: 1, type: 'bonus', result: { balance: 110 } }]);
  });

  it('stores results of every JSON kind, and none', async () => {
    const db = await database();
    for (const value of ['text', 0, false, null, [1, 'a'], { a: { b: [] } }, undefined]) {
      const task = taskContext('any');
      expect(await withInbox(db, task, async () => value)).toEqual(value);
      expect(await withInbox(db, task, async () => 'again')).toEqual(value ?? null);
    }
  });

  it('lets the second of two runs do the work when the first rolls back', async () => {
    const db = await database();
    const task = taskContext('bonus');
    const entered = deferred<void>();
    const fail = deferred<void>();
    const first = withInbox(db, task, async (trx) => {
      await addTen(trx);
      entered.resolve();
      await fail.promise;
    });
    await entered.promise;
    const second = withInbox(db, task, addTen);
    await waitsForLock(db);
    fail.reject(new Error('first run failed'));
    await expect(first).rejects.toThrow('first run failed');
    expect(await second).toEqual({ balance: 110 });
    expect(await balance(db)).toBe(110);
  });

  it('changes nothing when the connection is killed in the middle, and the next run does it all', async () => {
    const broken: Error[] = [];
    const db = await database({ onConnectionError: (error: Error) => broken.push(error) });
    const task = taskContext('bonus');
    const error = await rejection(
      withInbox(db, task, async (trx) => {
        await addTen(trx);
        const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(trx);
        await sql`select pg_terminate_backend(${rows[0]?.pid})`.execute(db);
        return await addTen(trx);
      }),
    );
    expect(error).toMatchObject({ name: 'DatabaseError', retryable: true, details: { reason: 'connection-lost' } });
    expect(isDatabaseAway(error)).toBe(true);
    expect(await balance(db)).toBe(100);
    expect(await inboxRows(db)).toEqual([]);
    expect(await withInbox(db, task, addTen)).toEqual({ balance: 110 });
    expect(broken.length).toBeGreaterThan(0);
  });

  it('rolls back when the task is aborted before its end', async () => {
    const db = await database();
    const abort = new AbortController();
    const task = taskContext('bonus', { signal: abort.signal });
    await expect(
      withInbox(db, task, async (trx) => {
        await addTen(trx);
        abort.abort(new Error('cancelled by somebody'));
      }),
    ).rejects.toThrow('cancelled by somebody');
    expect(await balance(db)).toBe(100);
    expect(await inboxRows(db)).toEqual([]);
  });

  it('works on a database whose default isolation is stricter', async () => {
    const { db: first, url } = await freshDatabase(server.url);
    await sql`alter role current_user set default_transaction_isolation = serializable`.execute(first);
    const db = createDatabase(url, { maxConnections: 5 });
    open.push(first, db);
    try {
      await db.insertInto('users').values({ id: 'ann', balance: 100 }).execute();
      const task = taskContext('bonus');
      const slowly = async (trx: Database) => {
        const row = await addTen(trx);
        await waitsForLock(first);
        return row;
      };
      const results = await Promise.all(Array.from({ length: 5 }, () => withInbox(db, task, slowly)));
      expect(results).toEqual(Array(5).fill({ balance: 110 }));
    } finally {
      await sql`alter role current_user reset default_transaction_isolation`.execute(first);
    }
  });
});

describe('errors', () => {
  it('makes a deadlock retryable', async () => {
    const db = await database();
    await db.insertInto('users').values({ id: 'bob' }).execute();
    const both = [deferred<void>(), deferred<void>()] as const;
    const lock = (trx: Database, id: string) => trx.selectFrom('users').select('id').where('id', '=', id).forUpdate().execute();
    const cross = (mine: 0 | 1, first: string, second: string) =>
      withInbox(db, taskContext('cross'), async (trx) => {
        await lock(trx, first);
        both[mine].resolve();
        await both[1 - mine]?.promise;
        await lock(trx, second);
      });
    const outcomes = await Promise.allSettled([cross(0, 'ann', 'bob'), cross(1, 'bob', 'ann')]);
    const failed = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(failed).toHaveLength(1);
    expect(failed[0]?.reason).toMatchObject({ name: 'DatabaseError', retryable: true, details: { reason: 'deadlock' } });
  });

  it('makes a statement timeout and an unreachable server retryable, a bad value fatal', async () => {
    const db = await database({ statementTimeoutMs: 50 });
    const slow = await rejection(withInbox(db, taskContext('slow'), (trx) => sql`select pg_sleep(5)`.execute(trx)));
    expect(slow).toMatchObject({ retryable: true, details: { reason: 'statement-timeout' } });
    const wrong = await rejection(withInbox(db, taskContext('wrong'), (trx) => sql`select 'x'::int`.execute(trx)));
    expect(wrong).toMatchObject({ name: 'FatalError', details: { reason: 'invalid-value', sqlstate: '22P02' } });
    const nowhere = createDatabase('postgres://jetlane@127.0.0.1:1/none');
    open.push(nowhere);
    const lost = await rejection(withInbox(nowhere, taskContext('lost'), addTen as never));
    expect(lost).toMatchObject({ name: 'DatabaseError', retryable: true, details: { reason: 'connection-lost' } });
  });
});

describe('purge', () => {
  const age = (db: Database, rows: number, interval: string) =>
    sql`insert into task_inbox (task_id, hop, attempt, type, processed_at)
      select ${interval} || n, 1, 1, 'old', now() - ${interval}::interval from generate_series(1, ${rows}) n`.execute(db);

  it('deletes rows older than the given age, in portions, from several processes at once', async () => {
    const db = await database();
    await age(db, 250, '8 days');
    await age(db, 3, '6 days');
    const purged = await Promise.all([purgeInbox(db, { batchSize: 20 }), purgeInbox(db, { batchSize: 20 })]);
    await purgeInbox(db, { batchSize: 20 });
    expect(purged[0] + purged[1]).toBeLessThanOrEqual(250);
    expect(await inboxRows(db)).toHaveLength(3);
  });

  it('happens every so often until the janitor stops', async () => {
    const db = await database();
    await age(db, 5, '2 hours');
    const purged = deferred<number>();
    const janitor = new InboxJanitor(db, { every: 10, olderThan: '1h', onPurged: purged.resolve });
    janitor.start();
    janitor.start();
    expect(await purged.promise).toBe(5);
    await Promise.all([janitor.stop(), janitor.stop()]);
    expect(await inboxRows(db)).toEqual([]);
  });

  it('goes on after a failure', async () => {
    const db = await database();
    await sql`alter table task_inbox rename to away`.execute(db);
    const failed = deferred<unknown>();
    const purged = deferred<number>();
    const janitor = new InboxJanitor(db, { every: 10, onError: failed.resolve, onPurged: purged.resolve });
    janitor.start();
    expect(String(await failed.promise)).toContain('task_inbox');
    await sql`alter table away rename to task_inbox`.execute(db);
    await age(db, 1, '8 days');
    expect(await purged.promise).toBe(1);
    await janitor.stop();
  });
});

async function waitsForLock(db: Database): Promise<void> {
  const waiting = sql`select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`;
  const somebody = async () => (await waiting.execute(db)).rows.length > 0;
  expect(await waitUntil(somebody, { timeoutMs: 30_000, everyMs: 10 }), 'somebody waits for a lock').toBe(true);
}
