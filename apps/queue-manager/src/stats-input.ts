import { JetlaneError } from '@jetlane/protocol';
import { z } from 'zod';

const schema = z.strictObject({ queue: z.string().optional() }).default({});

/** Input of the command `stats`. @throws JetlaneError `invalid-argument` */
export function readStatsInput(input: unknown): { readonly queue?: string } {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw new JetlaneError('invalid-argument', 'expected nothing or {"queue": "<name>"}', {
    details: { issues: parsed.error.issues.map(({ message }) => message) },
  });
}
