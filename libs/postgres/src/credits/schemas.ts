import { z } from 'zod';
import { MAX_CREDITS } from '../migrations.js';

/** Text without control characters: PostgreSQL cannot store NUL, and nobody means the others. */
const text = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .refine((value) => !/\p{Cc}/u.test(value), 'must not contain control characters');

const credits = z.int().max(MAX_CREDITS);
const userId = text(128);

/** A price: a number, or a decimal string where the last digit matters. */
const price = z.union([z.number().nonnegative(), z.string().regex(/^\d{1,15}(\.\d{1,10})?$/, 'must be a decimal number such as "9.99"')]);

/** Data of a `user_registration` task. */
export const userRegistrationData = z.object({
  user_id: userId,
  name: text(200).optional(),
  email: z.email().max(320).optional(),
  /** Credits granted with the registration. Default 0. */
  initial_credits: credits.nonnegative().optional(),
});

/** Data of a `credit_purchase` task. */
export const creditPurchaseData = z.object({
  user_id: userId,
  /** Credits bought; a positive whole number. */
  amount: credits.positive(),
  price: price.optional(),
  /** ISO 4217 code, in any case. */
  currency: z
    .string()
    .regex(/^[A-Za-z]{3}$/, 'must be an ISO 4217 code such as "EUR"')
    .transform((code) => code.toUpperCase())
    .optional(),
  /** The payment's own id. A payment is credited once, whatever the number of tasks that name it. */
  payment_id: text(200).optional(),
});

/** Data of a `credit_update` task: either `delta` or `set`. */
export const creditUpdateData = z
  .object({
    user_id: userId,
    /** Added to the balance; negative to spend. */
    delta: credits
      .min(-MAX_CREDITS)
      .refine((value) => value !== 0, 'must not be 0')
      .optional(),
    /** The new balance. */
    set: credits.nonnegative().optional(),
    reason: text(500).optional(),
  })
  .refine((data) => (data.delta === undefined) !== (data.set === undefined), 'give either "delta" or "set"');

/** Data of a `credit_calculation` task. */
export const creditCalculationData = z.object({ user_id: userId });

/** Data of a `user_registration` task, read: defaults filled in. */
export type UserRegistrationData = z.output<typeof userRegistrationData>;
/** Likewise of a `credit_purchase` task. */
export type CreditPurchaseData = z.output<typeof creditPurchaseData>;
/** Likewise of a `credit_update` task. */
export type CreditUpdateData = z.output<typeof creditUpdateData>;
/** Likewise of a `credit_calculation` task. */
export type CreditCalculationData = z.output<typeof creditCalculationData>;
