import { z } from 'zod';

const count = z.number().default(0);
const percentiles = z.object({ p50: z.number(), p95: z.number(), p99: z.number() }).nullish();

/** What the gateway uses of the answer to `analytics.stats`. */
const analyticsSchema = z.array(
  z.object({
    queue: z.string(),
    window: z.object({ seconds: count, completedPerSecond: count, failedPerSecond: count, retriedPerSecond: count }),
    totals: z.object({ completed: count, retry: count, dead: count, cancelled: count }),
    waitMs: percentiles,
    runMs: percentiles,
    workers: count,
    slots: count,
    busy: count,
  }),
);

export type AnalyticsStats = z.output<typeof analyticsSchema>[number];

/** Checks what analytics answered: it is another process, perhaps of another version. */
export const readAnalyticsStats = (answer: unknown): AnalyticsStats[] => analyticsSchema.parse(answer);
