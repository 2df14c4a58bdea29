import { z } from 'zod';
import { JetlaneError } from './errors.js';

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const FORM = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;

/** A span of time: milliseconds, or a number with a unit: `250ms`, `5s`, `1.5m`, `2h`, `7d`. */
export type Duration = number | string;

/** Longest duration, in ms: a hundred years. Beyond it instants lose their four-digit year and nanoseconds their 64 bits. */
const LONGEST_MS = 100 * 366 * 86_400_000;

/**
 * Milliseconds of a duration, as a whole number.
 * @param what names the value in the error message
 * @throws JetlaneError `invalid-argument` for a negative or unreadable value, or one beyond a hundred years
 */
export function toMs(value: Duration, what = 'duration'): number {
  const ms = readMs(value);
  if (ms !== undefined) return ms;
  const got = typeof value === 'string' ? JSON.stringify(value.slice(0, 60)) : String(value);
  throw new JetlaneError(
    'invalid-argument',
    `expected ${what} to be milliseconds or a number with ms, s, m, h or d, as in "5s"; got ${got}`,
    { details: { field: what } },
  );
}

function readMs(value: unknown): number | undefined {
  const match = typeof value === 'string' ? FORM.exec(value.trim()) : null;
  const ms = match ? Number(match[1]) * UNITS[match[2]!]! : typeof value === 'number' ? value : -1;
  // Fractions would end up in requests to the server, which takes whole nanoseconds only ("1.1s" is 1100.0000000000002 ms).
  return ms >= 0 && ms <= LONGEST_MS ? Math.round(ms) : undefined;
}

/** Schema of a duration that lies within bounds, in ms. */
export function durationSchema(least = 0, most = LONGEST_MS) {
  const fits = (value: Duration): boolean => {
    const ms = readMs(value);
    return ms !== undefined && ms >= least && ms <= most;
  };
  const bounds = most === LONGEST_MS ? `at least ${formatMs(least)}` : `from ${formatMs(least)} to ${formatMs(most)}`;
  return z.union([z.number(), z.string()]).refine(fits, `expected milliseconds or a duration such as "5s" or "2h", ${bounds}`);
}

/** A duration for people: the largest unit that gives a whole number. */
export function formatMs(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    const size = UNITS[unit]!;
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}
