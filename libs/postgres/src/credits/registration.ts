import { sql } from 'kysely';
import type { InboxTask } from '../inbox.js';
import type { DatabaseTransaction } from '../schema.js';
import type { UserRegistrationData } from './schemas.js';

/** Result of a `user_registration` task. `registered` is false when the account had been registered before. */
export interface UserRegistrationResult {
  readonly user_id: string;
  readonly registered: boolean;
  readonly balance: number;
}

/**
 * Registers an account. One that a purchase has opened already is completed and keeps its balance. One that is
 * registered already is left as it is: its initial credits are never granted a second time.
 */
export async function registerUser(trx: DatabaseTransaction, task: InboxTask, data: UserRegistrationData): Promise<UserRegistrationResult> {
  const initial = data.initial_credits ?? 0;
  const account = await trx
    .insertInto('users')
    .values({ id: data.user_id, name: data.name ?? null, email: data.email ?? null, balance: initial, registered_at: sql`now()` })
    .onConflict((conflict) =>
      conflict
        .column('id')
        .doUpdateSet((eb) => ({
          name: sql<string | null>`coalesce(excluded.name, users.name)`,
          email: sql<string | null>`coalesce(excluded.email, users.email)`,
          balance: eb('users.balance', '+', eb.ref('excluded.balance')),
          registered_at: sql<string>`now()`,
          updated_at: sql<string>`now()`,
        }))
        .where('users.registered_at', 'is', null),
    )
    .returning('balance')
    .executeTakeFirst();
  if (!account) return { user_id: data.user_id, registered: false, balance: await balanceOf(trx, data.user_id) };
  if (initial > 0) {
    await trx
      .insertInto('adjustments')
      .values({ user_id: data.user_id, delta: initial, reason: 'initial credits', task_id: task.id })
      .execute();
  }
  return { user_id: data.user_id, registered: true, balance: account.balance };
}

/** The balance of an account; 0 for one that does not exist. */
export async function balanceOf(trx: DatabaseTransaction, userId: string): Promise<number> {
  const row = await trx.selectFrom('users').select('balance').where('id', '=', userId).executeTakeFirst();
  return row?.balance ?? 0;
}
