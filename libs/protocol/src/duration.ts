import { JetlaneError } from './errors.js';

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const FORM = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;

/** A span of time: milliseconds, or a number with a unit: `250ms`, `5s`, `1.5m`, `2h`, `7d`. */
export type Duration = number | string;

/**
 * Milliseconds of a duration.
 * @param what names the value in the error message
 * @throws JetlaneError `invalid-argument` for a negative, non-finite or unreadable value
 */
export function toMs(value: Duration, what = 'duration'): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
  const match = typeof value === 'string' ? FORM.exec(value.trim()) : null;
  if (!match) {
    throw new JetlaneError('invalid-argument', `expected ${what} to be milliseconds or a number with ms, s, m, h or d, as in "5s"; got ${JSON.stringify(value)}`, {
      details: { field: what },
    });
  }
  return Number(match[1]) * UNITS[match[2]!]!;
}

/** A duration for people: the largest unit that gives a whole number. */
export function formatMs(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    const size = UNITS[unit]!;
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}
