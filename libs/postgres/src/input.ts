import { FatalError } from '@jetlane/protocol';
import type { z } from 'zod';

/** One thing that is wrong with a payload: where, and what. */
export interface Issue {
  /** Dotted path inside the payload; empty for the payload itself. */
  readonly path: string;
  readonly message: string;
}

/**
 * The payload of a task, checked.
 * @throws FatalError `invalid-argument` with every issue in `details.issues`
 */
export function parseData<S extends z.ZodType>(schema: S, data: unknown, type: string): z.output<S> {
  const parsed = schema.safeParse(data);
  if (parsed.success) return parsed.data;
  throw invalidData(
    type,
    parsed.error.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message })),
  );
}

/** The error for a payload with these issues. */
export function invalidData(type: string, issues: readonly Issue[]): FatalError {
  const list = issues.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join('; ');
  return new FatalError(`the data of this ${type} task is not valid: ${list}`, { code: 'invalid-argument', details: { issues } });
}
