import { closest, JetlaneError } from '@jetlane/protocol';
import { z } from 'zod';
import type { FieldProblem } from './problem.js';

/** Deepest nesting of a payload: far beyond any real one, and safe for every recursive reader behind us. */
export const MAX_DEPTH = 100;

/**
 * Checks a value against a schema.
 * @param what names the value in the message: `body`, `query`
 * @throws JetlaneError `invalid-argument`; `details.issues` lists path and message of each wrong field
 */
export function validate<S extends z.ZodType>(schema: S, value: unknown, what: string): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.flatMap((issue) => fieldProblems(issue, schema));
  const text = issues
    .slice(0, 5)
    .map(({ path, message }) => (path ? `${path}: ${message}` : message))
    .join('; ');
  throw new JetlaneError('invalid-argument', `the ${what} is not valid: ${text}${issues.length > 5 ? '; and more' : ''}`, {
    details: { issues },
  });
}

function fieldProblems(issue: z.core.$ZodIssue, schema: z.ZodType): FieldProblem[] {
  const path = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownField(path, key, schema));
  return [{ path, message: issue.code === 'invalid_union' ? unionMessage(issue) : issue.message }];
}

function unknownField(path: string, key: string, schema: z.ZodType): FieldProblem {
  const known = !path && schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
  const nearest = closest(key, known);
  const shown = key.slice(0, 100);
  return { path: path ? `${path}.${shown}` : shown, message: nearest ? `unknown field; did you mean "${nearest}"?` : 'unknown field' };
}

/** "expected string or number" instead of zod's bare "Invalid input". */
function unionMessage(issue: Extract<z.core.$ZodIssue, { code: 'invalid_union' }>): string {
  const expected = issue.errors.flatMap(([first]) => (first?.code === 'invalid_type' ? [first.expected] : []));
  return expected.length ? `expected ${[...new Set(expected)].join(' or ')}` : issue.message;
}

/** @throws JetlaneError `invalid-argument` for a value that nests deeper than {@link MAX_DEPTH} */
export function assertDepth(value: unknown, field: string): void {
  if (!fits(value, MAX_DEPTH)) {
    throw new JetlaneError('invalid-argument', `${field}: nested deeper than ${MAX_DEPTH} levels`, {
      details: { issues: [{ path: field, message: `nested deeper than ${MAX_DEPTH} levels` }] },
    });
  }
}

function fits(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (levels === 0) return false;
  for (const key in value) {
    if (!fits((value as Record<string, unknown>)[key], levels - 1)) return false;
  }
  return true;
}
