import { closest, configurationError, durationSchema, JetlaneError, retryPolicySchema } from '@jetlane/protocol';
import { z } from 'zod';

const isFunction = (value: unknown): boolean => typeof value === 'function';
const handlerRetry = retryPolicySchema.extend({
  backoff: z.union([z.enum(['exponential', 'fixed']), z.custom(isFunction)], 'expected "exponential", "fixed" or a function').optional(),
  retryable: z.custom(isFunction, 'expected a function').optional(),
});
const handler = z.strictObject({ handle: z.unknown(), retry: handlerRetry.optional(), timeout: durationSchema(1).optional() });
const wait = durationSchema(0, 3_600_000).optional();
const batch = handler.omit({ handle: true }).extend({
  handleBatch: z.unknown(),
  accept: z.unknown().optional(),
  size: z.int().min(1).max(10_000),
  minSize: z.int().min(1).optional(),
  maxWait: wait,
  minGap: wait,
  groupBy: z.union([z.literal('group'), z.custom(isFunction)], 'expected "group" or a function').optional(),
});
const reader = z.object({
  retry: retryPolicySchema.optional(),
  concurrency: z.int().min(1).max(10_000).optional(),
  from: z.enum(['new', 'all']).optional(),
  broadcast: z.boolean().optional(),
});
const server = z.object({ requestConcurrency: z.int().min(1).max(100_000).optional() });

/** @param label whose options they are. @throws JetlaneError `invalid-configuration` that names it and every wrong field */
export const checkHandlerOptions = (options: unknown, label: string): void => check(handler, options, label);

/** Likewise for batch handlers. */
export const checkBatchOptions = (options: unknown, label: string): void => check(batch, options, label);

/** Likewise for readers of events. */
export const checkReaderOptions = (options: unknown, label: string): void => check(reader, options, label);

/** Likewise for a server of the transport. */
export const checkServerOptions = (options: unknown, label: string): void => check(server, options, label);

/** @throws JetlaneError `invalid-configuration` for a field that nobody would read */
export function assertKnown(options: object, known: readonly string[], label: string): void {
  for (const [field, value] of Object.entries(options)) {
    if (value === undefined || known.includes(field)) continue;
    const nearest = closest(field, known);
    const hint = nearest ? `did you mean "${nearest}"?` : `there are: ${known.join(', ')}`;
    throw new JetlaneError('invalid-configuration', `${label} has no option "${field}"; ${hint}`, { details: { field } });
  }
}

function check(schema: z.ZodType, options: unknown, label: string): void {
  const parsed = schema.safeParse(options);
  if (!parsed.success) throw configurationError(`what ${label} asks for`, parsed.error);
}
