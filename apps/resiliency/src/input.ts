import { JetlaneError } from '@jetlane/protocol';
import type { z } from 'zod';

/** Checks the input of a command. @throws JetlaneError `invalid-argument`; `details.issues` lists path and message of each wrong field */
export function readInput<S extends z.ZodType>(schema: S, input: unknown): z.output<S> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map(({ path, message }) => ({ path: path.join('.'), message }));
  const text = issues.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join('; ');
  throw new JetlaneError('invalid-argument', `the input is not valid: ${text}`, { details: { issues } });
}
