import { FatalError } from '@jetlane/protocol';
import { sql } from 'kysely';
import type { InboxTask } from '../inbox.js';
import type { DatabaseTransaction } from '../schema.js';
import { balanceOf } from './registration.js';
import type { CreditUpdateData } from './schemas.js';

/** Result of a `credit_update` task: the change that was made and what came out. */
export interface CreditUpdateResult {
  readonly user_id: string;
  readonly delta: number;
  readonly balance: number;
}

/**
 * Spends, grants or sets credits. What is spent becomes a usage, all else an adjustment, so that for every account
 * balance = purchases + adjustments − usages. An unknown user counts as an account with balance 0.
 * @throws FatalError when the balance would become negative
 */
export async function updateCredits(trx: DatabaseTransaction, task: InboxTask, data: CreditUpdateData): Promise<CreditUpdateResult> {
  if (data.set !== undefined) return await setBalance(trx, task, data, data.set);
  const delta = data.delta ?? 0;
  return delta < 0 ? await spend(trx, task, data, -delta) : await grant(trx, task, data, delta);
}

async function spend(trx: DatabaseTransaction, task: InboxTask, data: CreditUpdateData, amount: number): Promise<CreditUpdateResult> {
  const account = await trx
    .updateTable('users')
    .set((eb) => ({ balance: eb('balance', '-', amount), updated_at: sql<string>`now()` }))
    .where('id', '=', data.user_id)
    .where('balance', '>=', amount)
    .returning('balance')
    .executeTakeFirst();
  if (!account) {
    const balance = await balanceOf(trx, data.user_id);
    throw new FatalError(`user "${data.user_id}" has ${balance} credits, ${amount} are needed; a balance is never negative`, {
      details: { reason: 'insufficient-credits', user_id: data.user_id, balance, needed: amount },
    });
  }
  await trx
    .insertInto('usages')
    .values({ user_id: data.user_id, amount, reason: data.reason ?? null, task_id: task.id })
    .execute();
  return { user_id: data.user_id, delta: -amount, balance: account.balance };
}

async function grant(trx: DatabaseTransaction, task: InboxTask, data: CreditUpdateData, delta: number): Promise<CreditUpdateResult> {
  const account = await trx
    .insertInto('users')
    .values({ id: data.user_id, balance: delta })
    .onConflict((conflict) =>
      conflict.column('id').doUpdateSet((eb) => ({
        balance: eb('users.balance', '+', eb.ref('excluded.balance')),
        updated_at: sql<string>`now()`,
      })),
    )
    .returning('balance')
    .executeTakeFirstOrThrow();
  await recordAdjustment(trx, task, data, delta);
  return { user_id: data.user_id, delta, balance: account.balance };
}

async function setBalance(trx: DatabaseTransaction, task: InboxTask, data: CreditUpdateData, balance: number): Promise<CreditUpdateResult> {
  await trx
    .insertInto('users')
    .values({ id: data.user_id })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .execute();
  // Locked, so that the difference written down is the difference made.
  const before = await trx.selectFrom('users').select('balance').where('id', '=', data.user_id).forNoKeyUpdate().executeTakeFirstOrThrow();
  await trx.updateTable('users').set({ balance, updated_at: sql<string>`now()` }).where('id', '=', data.user_id).execute();
  const delta = balance - before.balance;
  if (delta !== 0) await recordAdjustment(trx, task, data, delta);
  return { user_id: data.user_id, delta, balance };
}

async function recordAdjustment(trx: DatabaseTransaction, task: InboxTask, data: CreditUpdateData, delta: number): Promise<void> {
  await trx
    .insertInto('adjustments')
    .values({ user_id: data.user_id, delta, reason: data.reason ?? null, task_id: task.id })
    .execute();
}
