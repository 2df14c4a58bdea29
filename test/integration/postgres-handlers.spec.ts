import type { Database } from '@jetlane/postgres';
import { type PostgresServer, startPostgres } from '@jetlane/testing';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { freshDatabase, rejection } from './postgres-fixture.js';

let server: PostgresServer;
let db: Database;
let run: Awaited<ReturnType<typeof freshDatabase>>['run'];

beforeAll(async () => {
  server = await startPostgres();
  ({ db, run } = await freshDatabase(server.url, { maxConnections: 20 }));
});
afterEach(async () => {
  await sql`truncate users, purchases, usages, adjustments, credit_scores, task_inbox`.execute(db);
});
afterAll(async () => {
  await db.destroy();
  await server.stop();
});

const user = (id: string) => db.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst();
const times = <T>(n: number, make: (i: number) => T) => Array.from({ length: n }, (_, i) => make(i));

/** For every account: balance = purchases + adjustments − usages. */
async function expectBooksToBalance(): Promise<void> {
  const { rows } = await sql`select id, balance from users u where balance <>
    coalesce((select sum(amount) from purchases where user_id = u.id), 0)
    + coalesce((select sum(delta) from adjustments where user_id = u.id), 0)
    - coalesce((select sum(amount) from usages where user_id = u.id), 0)`.execute(db);
  expect(rows).toEqual([]);
}

describe('user_registration', () => {
  it('opens an account with initial credits', async () => {
    const data = { user_id: 'ann', name: 'Ann', email: 'ann@example.com', initial_credits: 50 };
    expect(await run('user_registration', data)).toEqual({ user_id: 'ann', registered: true, balance: 50 });
    expect(await user('ann')).toMatchObject({ name: 'Ann', email: 'ann@example.com', balance: 50 });
    await expectBooksToBalance();
  });

  it('grants initial credits once, however often the user registers', async () => {
    const data = { user_id: 'ann', initial_credits: 50 };
    const results = await Promise.all(times(10, () => run('user_registration', data)));
    expect(results.filter((result) => (result as { registered: boolean }).registered)).toHaveLength(1);
    expect(await user('ann')).toMatchObject({ balance: 50 });
    await expectBooksToBalance();
  });

  it('completes an account that a purchase has opened', async () => {
    await run('credit_purchase', { user_id: 'ann', amount: 7 });
    expect(await user('ann')).toMatchObject({ registered_at: null });
    expect(await run('user_registration', { user_id: 'ann', name: 'Ann', initial_credits: 3 })).toEqual({
      user_id: 'ann',
      registered: true,
      balance: 10,
    });
    expect(await user('ann')).toMatchObject({ name: 'Ann', balance: 10, registered_at: expect.stringMatching(/Z$/) });
    await expectBooksToBalance();
  });
});

describe('credit_purchase', () => {
  it('opens an account for an unknown user and writes the purchase down', async () => {
    const data = { user_id: 'bob', amount: 20, price: 9.99, currency: 'eur', payment_id: 'p1' };
    expect(await run('credit_purchase', data, { key: 'k1' })).toEqual({ user_id: 'bob', credited: 20, balance: 20 });
    const row = await db.selectFrom('purchases').selectAll().executeTakeFirstOrThrow();
    expect(row).toMatchObject({ user_id: 'bob', amount: 20, price: '9.99', currency: 'EUR', payment_id: 'p1', task_id: 'default.k1' });
  });

  it('adds up under concurrency, every task delivered twice', async () => {
    const tasks = times(100, (i) => ({ key: `k${i}`, data: { user_id: `u${i % 3}`, amount: i + 1 } }));
    const twice = [...tasks, ...tasks.toReversed()];
    await Promise.all(twice.map(({ key, data }) => run('credit_purchase', data, { key })));
    const rows = await db.selectFrom('users').select(['id', 'balance']).orderBy('id').execute();
    const expected = times(3, (u) => ({
      id: `u${u}`,
      balance: tasks.filter((_, i) => i % 3 === u).reduce((sum, { data }) => sum + data.amount, 0),
    }));
    expect(rows).toEqual(expected);
    await expectBooksToBalance();
  });

  it('credits a payment once, whatever the number of tasks that name it', async () => {
    const data = { user_id: 'bob', amount: 20, payment_id: 'p1' };
    const results = await Promise.all(times(10, () => run('credit_purchase', data)));
    expect(results.map((result) => (result as { credited: number }).credited).sort()).toEqual([...Array(9).fill(0), 20]);
    expect(await user('bob')).toMatchObject({ balance: 20 });
    const error = await rejection(run('credit_purchase', { ...data, amount: 21 }));
    expect(error).toMatchObject({ name: 'FatalError', details: { reason: 'payment-conflict', payment_id: 'p1' } });
    expect(await user('bob')).toMatchObject({ balance: 20 });
  });

  it('refuses what would not fit a balance', async () => {
    await run('credit_purchase', { user_id: 'bob', amount: Number.MAX_SAFE_INTEGER });
    const error = await rejection(run('credit_purchase', { user_id: 'bob', amount: 1 }));
    expect(error).toMatchObject({ name: 'FatalError', details: { constraint: 'users_balance_range' } });
    await expectBooksToBalance();
  });

  it.each([
    [{}, ['user_id', 'amount']],
    [{ user_id: 'a', amount: 0 }, ['amount']],
    [{ user_id: 'a', amount: -5 }, ['amount']],
    [{ user_id: 'a', amount: 1.5 }, ['amount']],
    [{ user_id: 'a', amount: '5' }, ['amount']],
    [{ user_id: 'a', amount: Number.NaN }, ['amount']],
    [{ user_id: 'a', amount: 2 ** 53 }, ['amount']],
    [{ user_id: '', amount: 1 }, ['user_id']],
    [{ user_id: 'a\0b', amount: 1 }, ['user_id']],
    [{ user_id: 'a'.repeat(200), amount: 1, currency: 'EURO', price: 'free' }, ['user_id', 'price', 'currency']],
    [null, ['']],
    ['text', ['']],
    [[1], ['']],
  ])('refuses %j with the list of issues', async (data, paths) => {
    const error = await rejection(run('credit_purchase', data));
    expect(error).toMatchObject({ name: 'FatalError', code: 'invalid-argument', retryable: false });
    const issues = (error.details?.issues ?? []) as { path: string }[];
    expect(issues.map(({ path }) => path)).toEqual(expect.arrayContaining(paths));
    expect(await db.selectFrom('task_inbox').selectAll().execute()).toEqual([]);
  });
});

describe('credit_update', () => {
  it('grants, spends and sets', async () => {
    expect(await run('credit_update', { user_id: 'cy', delta: 30, reason: 'gift' })).toEqual({ user_id: 'cy', delta: 30, balance: 30 });
    expect(await run('credit_update', { user_id: 'cy', delta: -12, reason: 'report' })).toEqual({ user_id: 'cy', delta: -12, balance: 18 });
    expect(await run('credit_update', { user_id: 'cy', set: 5 })).toEqual({ user_id: 'cy', delta: -13, balance: 5 });
    expect(await db.selectFrom('usages').select(['amount', 'reason']).execute()).toEqual([{ amount: 12, reason: 'report' }]);
    await expectBooksToBalance();
  });

  it('never lets a balance become negative, under concurrency either', async () => {
    await run('credit_purchase', { user_id: 'cy', amount: 100 });
    const outcomes = await Promise.allSettled(times(30, () => run('credit_update', { user_id: 'cy', delta: -7 })));
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(refused).toHaveLength(16);
    for (const { reason } of refused) {
      expect(reason).toMatchObject({ name: 'FatalError', details: { reason: 'insufficient-credits', user_id: 'cy', needed: 7 } });
    }
    expect(await user('cy')).toMatchObject({ balance: 2 });
    await expectBooksToBalance();
  });

  it('counts an unknown user as an account with balance 0', async () => {
    expect(await rejection(run('credit_update', { user_id: 'nobody', delta: -1 }))).toMatchObject({ details: { balance: 0 } });
    expect(await user('nobody')).toBeUndefined();
    expect(await run('credit_update', { user_id: 'dee', set: 9 })).toMatchObject({ balance: 9 });
  });

  it('keeps the books in balance through a mixture of everything at once', async () => {
    const work = times(200, (i) => {
      const user_id = `u${i % 5}`;
      if (i % 10 === 0) return run('credit_update', { user_id, set: i });
      if (i % 7 === 0) return run('user_registration', { user_id, initial_credits: 11 });
      if (i % 3 === 0) return run('credit_update', { user_id, delta: -(i % 13) - 1 });
      return run('credit_purchase', { user_id, amount: i + 1 });
    });
    await Promise.allSettled(work);
    await expectBooksToBalance();
  });

  it.each([
    [{ user_id: 'a' }],
    [{ user_id: 'a', delta: 1, set: 1 }],
    [{ user_id: 'a', delta: 0 }],
    [{ user_id: 'a', set: -1 }],
    [{ user_id: 'a', delta: '1' }],
  ])('refuses %j', async (data) => {
    expect(await rejection(run('credit_update', data))).toMatchObject({ name: 'FatalError', code: 'invalid-argument' });
  });
});

describe('credit_calculation', () => {
  it('scores an account by purchases and usage and stores the score', async () => {
    await run('credit_purchase', { user_id: 'eve', amount: 900 });
    await run('credit_purchase', { user_id: 'eve', amount: 99 });
    await run('credit_update', { user_id: 'eve', delta: -333 });
    const result = await run('credit_calculation', { user_id: 'eve' });
    expect(result).toEqual({ user_id: 'eve', purchased: 999, used: 333, purchases: 2, score: 390 });
    expect(await db.selectFrom('credit_scores').selectAll().executeTakeFirstOrThrow()).toMatchObject(result as object);
    await run('credit_update', { user_id: 'eve', delta: -666 });
    expect(await run('credit_calculation', { user_id: 'eve' })).toMatchObject({ used: 999, score: 590 });
    expect(await db.selectFrom('credit_scores').selectAll().execute()).toHaveLength(1);
  });

  it('asks for another attempt when the account is not there yet', async () => {
    const error = await rejection(run('credit_calculation', { user_id: 'ghost' }, { key: 'k1' }));
    expect(error).toMatchObject({ name: 'DatabaseError', retryable: true, details: { reason: 'unknown-user' } });
    await run('credit_purchase', { user_id: 'ghost', amount: 1 });
    expect(await run('credit_calculation', { user_id: 'ghost' }, { key: 'k1', attempt: 2, hop: 2 })).toMatchObject({ purchased: 1 });
  });
});
