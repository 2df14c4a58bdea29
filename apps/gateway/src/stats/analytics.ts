import { z } from 'zod';

const count = z.number().default(0);
const outcomes = z.object({ completed: count, retry: count, dead: count, cancelled: count });
const percentiles = z.object({ p50: z.number(), p95: z.number(), p99: z.number() }).nullable();

/** What the gateway uses of the answer to `analytics.stats`. */
const analyticsSchema = z.array(
  z.object({
    queue: z.string(),
    window: z.object({ seconds: z.number(), outcomes }),
    totals: outcomes,
    waitMs: percentiles,
    runMs: percentiles,
    workers: count,
    slots: count,
    busy: count,
  }),
);

export type AnalyticsFigures = z.output<typeof analyticsSchema>[number];

/** Checks what analytics answered: it is another process, perhaps of another version. */
export const readAnalyticsStats = (answer: unknown): AnalyticsFigures[] => analyticsSchema.parse(answer);

/** Figures of a queue that analytics has seen no worker of. */
export const noFigures = (queue: string): AnalyticsFigures => {
  const none = { completed: 0, retry: 0, dead: 0, cancelled: 0 };
  return { queue, window: { seconds: 0, outcomes: none }, totals: none, waitMs: null, runMs: null, workers: 0, slots: 0, busy: 0 };
};
