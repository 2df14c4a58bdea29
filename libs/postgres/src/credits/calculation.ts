import { sql } from 'kysely';
import { DatabaseError } from '../errors.js';
import type { DatabaseTransaction } from '../schema.js';
import type { CreditCalculationData } from './schemas.js';
import { computeScore, type ScoreFigures } from './score.js';

/** Result of a `credit_calculation` task. */
export interface CreditCalculationResult {
  readonly user_id: string;
  readonly score: number;
  readonly purchased: number;
  readonly used: number;
  readonly purchases: number;
}

/**
 * Scores an account by its purchases and usage, and stores the score.
 * @throws DatabaseError for an unknown user, to be tried again: the task that opens the account may still be under way
 */
export async function calculateCredits(trx: DatabaseTransaction, data: CreditCalculationData): Promise<CreditCalculationResult> {
  await lockAccount(trx, data.user_id);
  const { recentPurchases, ...figures } = await readFigures(trx, data.user_id);
  const row = { ...figures, score: computeScore({ ...figures, recentPurchases }) };
  await trx
    .insertInto('credit_scores')
    .values({ user_id: data.user_id, ...row })
    .onConflict((conflict) => conflict.column('user_id').doUpdateSet({ ...row, calculated_at: sql<string>`now()` }))
    .execute();
  return { user_id: data.user_id, ...row };
}

/** Whatever changes an account locks its row first; with it locked, the figures belong together and newer scores win. */
async function lockAccount(trx: DatabaseTransaction, userId: string): Promise<void> {
  const account = await trx.selectFrom('users').select('id').where('id', '=', userId).forNoKeyUpdate().executeTakeFirst();
  if (account) return;
  throw new DatabaseError(`user "${userId}" has no account yet; a registration or a purchase opens it`, {
    details: { reason: 'unknown-user', user_id: userId },
  });
}

async function readFigures(trx: DatabaseTransaction, userId: string): Promise<ScoreFigures> {
  const { rows } = await sql<ScoreFigures>`
    select
      coalesce((select sum(amount) from purchases where user_id = ${userId}), 0)::bigint as purchased,
      coalesce((select sum(amount) from usages where user_id = ${userId}), 0)::bigint as used,
      (select count(*) from purchases where user_id = ${userId}) as purchases,
      (select count(*) from purchases where user_id = ${userId} and created_at > now() - interval '30 days') as "recentPurchases"
  `.execute(trx);
  return rows[0] ?? { purchased: 0, used: 0, purchases: 0, recentPurchases: 0 };
}
