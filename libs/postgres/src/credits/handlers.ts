import type { TaskHandler } from '@jetlane/worker';
import type { z } from 'zod';
import { type InboxTask, withInbox } from '../inbox.js';
import { parseData } from '../input.js';
import type { Database, DatabaseTransaction } from '../schema.js';
import { calculateCredits } from './calculation.js';
import { purchaseCredits } from './purchase.js';
import { registerUser } from './registration.js';
import { creditCalculationData, creditPurchaseData, creditUpdateData, userRegistrationData } from './schemas.js';
import { updateCredits } from './update.js';

/** Handlers of the credit tasks, by task type. Each changes nothing twice: its writes go through the inbox. */
export function creditHandlers(db: Database, scope?: string): Record<string, TaskHandler<unknown>> {
  const once = onceIn(db, scope);
  return {
    user_registration: once(userRegistrationData, registerUser),
    credit_purchase: once(creditPurchaseData, purchaseCredits),
    credit_update: once(creditUpdateData, updateCredits),
    credit_calculation: once(creditCalculationData, (trx, _task, data) => calculateCredits(trx, data)),
  };
}

function onceIn(db: Database, scope: string | undefined) {
  return <S extends z.ZodType, R>(
    schema: S,
    run: (trx: DatabaseTransaction, task: InboxTask, data: z.output<S>) => Promise<R>,
  ): TaskHandler<unknown, R> =>
    async (data, ctx) => {
      const checked = parseData(schema, data, ctx.type);
      return await withInbox(db, ctx, (trx) => run(trx, ctx, checked), { payload: data, ...(scope ? { scope } : {}) });
    };
}
