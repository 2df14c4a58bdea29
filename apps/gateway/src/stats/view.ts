import { LANES, type Lane } from '@jetlane/protocol';
import { z } from 'zod';

const count = z.int().nonnegative();
const age = z.number().nullable().describe('Age of the oldest waiting task, in ms; null when none waits.');
const perSecond = z.number().nonnegative();
const percentiles = z.object({ p50: z.number(), p95: z.number(), p99: z.number() }).describe('Milliseconds.');

const laneSchema = z.object({
  depth: count.describe('Tasks stored in the lane, those that run included.'),
  active: count.describe('Tasks handed to workers.'),
  oldest_age_ms: age,
});

export const queueViewSchema = z
  .object({
    queue_name: z.string(),
    paused: z.boolean(),
    depth: count,
    active: count.describe('Tasks handed to workers.'),
    scheduled: count.describe('Delayed tasks and retries whose time has not come.'),
    failed: count.describe('Dead letters: tasks given up, that wait for a decision.'),
    oldest_age_ms: age,
    lanes: z.object(Object.fromEntries(LANES.map((lane) => [lane, laneSchema])) as Record<Lane, typeof laneSchema>),
    rates: z
      .object({ window_seconds: z.number(), completed_per_second: perSecond, failed_per_second: perSecond, retried_per_second: perSecond })
      .nullable()
      .describe('Null while analytics is not running.'),
    totals: z
      .object({ completed: count, failed: count, retried: count, cancelled: count })
      .nullable()
      .describe('Since the workers started. `failed` tasks are dead.'),
    wait_ms: percentiles.nullable().describe('From stored to started.'),
    run_ms: percentiles.nullable().describe('From started to finished.'),
    workers: z.object({ count, slots: count, busy: count }).nullable(),
  })
  .meta({ id: 'QueueStats' });

export const statsSchema = z
  .object({
    at: z.number().describe('When the figures were taken, ms since 1970.'),
    missing: z
      .array(z.object({ service: z.enum(['queue-manager', 'analytics']), detail: z.string() }))
      .describe('Services that did not answer, and what that means for the figures.'),
    queues: z.array(queueViewSchema),
  })
  .meta({ id: 'Stats' });

export type QueueView = z.output<typeof queueViewSchema>;
export type StatsView = z.output<typeof statsSchema>;
