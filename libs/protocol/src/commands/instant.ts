import { z } from 'zod';

/** The end of the year 9999: beyond it no server reads a time. */
const LATEST = 253_402_300_799_999;

/** A moment as people and programs write it. Read: ms since 1970. */
export const instantField = z.union([z.number(), z.string()]).transform((value, context): number => {
  const ms =
    typeof value === 'number' || /^\d+$/.test(value)
      ? Number(value)
      : z.iso.datetime({ offset: true }).safeParse(value).success
        ? Date.parse(value)
        : Number.NaN;
  if (Number.isInteger(ms) && ms >= 0 && ms <= LATEST) return ms;
  context.addIssue({ code: 'custom', message: 'expected milliseconds since 1970 or a time such as "2026-01-31T12:00:00Z"' });
  return z.NEVER;
});
