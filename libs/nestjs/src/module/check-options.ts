import { configurationError, durationSchema, retryPolicySchema } from '@jetlane/protocol';
import { z } from 'zod';

const handler = z.object({ retry: retryPolicySchema.optional(), timeout: durationSchema(1).optional() });
const reader = z.object({
  retry: retryPolicySchema.optional(),
  concurrency: z.int().min(1).max(10_000).optional(),
  from: z.enum(['new', 'all']).optional(),
  broadcast: z.boolean().optional(),
});

/** @param label whose options they are. @throws JetlaneError `invalid-configuration` that names it and every wrong field */
export const checkHandlerOptions = (options: unknown, label: string): void => check(handler, options, label);

/** Likewise for readers of events. */
export const checkReaderOptions = (options: unknown, label: string): void => check(reader, options, label);

function check(schema: z.ZodType, options: unknown, label: string): void {
  const parsed = schema.safeParse(options);
  if (!parsed.success) throw configurationError(`what ${label} asks for`, parsed.error);
}
