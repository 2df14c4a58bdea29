import { JetlaneError, toMs } from '@jetlane/protocol';
import { z } from 'zod';

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A variable that is a duration, in ms: `10s`, or a number of ms. */
export const durationVariable = z.string().transform((text, context): number => {
  try {
    return toMs(/^\d+$/.test(text) ? Number(text) : text);
  } catch {
    context.addIssue({ code: 'custom', message: 'expected milliseconds or a number with ms, s, m, h or d, as in "10s"' });
    return z.NEVER;
  }
});

/** The variables that are set: an empty one counts as unset. */
export const setVariables = (env: Environment): Environment => Object.fromEntries(Object.entries(env).filter(([, value]) => value));

/**
 * Reads the variables of a schema. Values are not repeated in errors: some are secrets.
 * @throws JetlaneError `invalid-configuration`; its message and `details.issues` list every variable that is wrong
 */
export function readEnvironment<S extends z.ZodType>(schema: S, env: Environment): z.output<S> {
  const parsed = schema.safeParse(setVariables(env));
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map(({ path, message }) => ({ variable: path.join('.'), message }));
  const text = issues.map(({ variable, message }) => `${variable}: ${message}`).join('; ');
  throw new JetlaneError('invalid-configuration', `the environment is not valid: ${text}`, { details: { issues } });
}
