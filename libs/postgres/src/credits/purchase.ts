import { FatalError } from '@jetlane/protocol';
import { sql } from 'kysely';
import type { InboxTask } from '../inbox.js';
import type { DatabaseTransaction } from '../schema.js';
import { balanceOf } from './registration.js';
import type { CreditPurchaseData } from './schemas.js';

/** Result of a `credit_purchase` task. `credited` is 0 when another task has credited the same payment before. */
export interface CreditPurchaseResult {
  readonly user_id: string;
  readonly credited: number;
  readonly balance: number;
}

/**
 * Credits a purchase. An unknown user gets an account by it: tasks run in parallel, so a purchase may overtake the
 * registration, and money that has been paid must not be refused for that.
 * @throws FatalError when the payment is known with another user or amount
 */
export async function purchaseCredits(trx: DatabaseTransaction, task: InboxTask, data: CreditPurchaseData): Promise<CreditPurchaseResult> {
  const account = await creditOnce(trx, task, data);
  if (account) return { user_id: data.user_id, credited: data.amount, balance: account.balance };
  await assertSamePayment(trx, data);
  return { user_id: data.user_id, credited: 0, balance: await balanceOf(trx, data.user_id) };
}

/** Purchase and balance in one statement; returns nothing when the payment had been there. */
async function creditOnce(trx: DatabaseTransaction, task: InboxTask, data: CreditPurchaseData): Promise<{ balance: number } | undefined> {
  return await trx
    .with('bought', (cte) =>
      cte
        .insertInto('purchases')
        .values({
          user_id: data.user_id,
          amount: data.amount,
          price: data.price ?? null,
          currency: data.currency ?? null,
          payment_id: data.payment_id ?? null,
          task_id: task.id,
        })
        .onConflict((conflict) => conflict.column('payment_id').where('payment_id', 'is not', null).doNothing())
        .returning(['user_id', 'amount']),
    )
    .insertInto('users')
    .columns(['id', 'balance'])
    .expression((eb) => eb.selectFrom('bought').select(['bought.user_id', 'bought.amount']))
    .onConflict((conflict) =>
      conflict.column('id').doUpdateSet((eb) => ({
        balance: eb('users.balance', '+', eb.ref('excluded.balance')),
        updated_at: sql<string>`now()`,
      })),
    )
    .returning('balance')
    .executeTakeFirst();
}

async function assertSamePayment(trx: DatabaseTransaction, data: CreditPurchaseData): Promise<void> {
  const known = await trx
    .selectFrom('purchases')
    .select(['user_id', 'amount', 'task_id'])
    .where('payment_id', '=', data.payment_id ?? null)
    .executeTakeFirst();
  if (known?.user_id === data.user_id && known.amount === data.amount) return;
  throw new FatalError(`payment "${data.payment_id}" was credited before with another user or amount; a payment is credited once`, {
    details: { reason: 'payment-conflict', payment_id: data.payment_id, earlier_task: known?.task_id ?? null },
  });
}
