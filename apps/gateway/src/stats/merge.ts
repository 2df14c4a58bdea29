import type { LaneStats, QueueStats } from '@jetlane/client';
import { LANES } from '@jetlane/protocol';
import type { AnalyticsStats } from './analytics.js';
import type { QueueView } from './view.js';

/** Joins what the queue-manager and analytics know, by queue, ordered by name. */
export function mergeStats(queues: readonly QueueStats[], analytics: readonly AnalyticsStats[]): QueueView[] {
  const figures = new Map(analytics.map((entry) => [entry.queue, entry]));
  return queues.map((queue) => queueView(queue, figures.get(queue.queue))).sort((a, b) => (a.queue_name < b.queue_name ? -1 : 1));
}

function queueView(stats: QueueStats, figures: AnalyticsStats | undefined): QueueView {
  const lanes = Object.fromEntries(LANES.map((lane) => [lane, laneView(stats.lanes[lane])])) as QueueView['lanes'];
  const ages = LANES.flatMap((lane) => lanes[lane].oldest_age_ms ?? []);
  return {
    queue_name: stats.queue,
    paused: stats.paused,
    depth: stats.depth,
    active: stats.active,
    scheduled: stats.scheduled,
    failed: stats.dead,
    oldest_age_ms: ages.length ? Math.max(...ages) : null,
    lanes,
    ...analyticsView(figures),
  };
}

const laneView = ({ depth, ackPending, oldestAgeMs }: LaneStats): QueueView['lanes']['normal'] => ({
  depth,
  active: ackPending,
  oldest_age_ms: oldestAgeMs,
});

type AnalyticsView = Pick<QueueView, 'rates' | 'totals' | 'wait_ms' | 'run_ms' | 'workers'>;

function analyticsView(figures: AnalyticsStats | undefined): AnalyticsView {
  if (!figures) return { rates: null, totals: null, wait_ms: null, run_ms: null, workers: null };
  const { window, totals, waitMs, runMs, workers, slots, busy } = figures;
  return {
    rates: {
      window_seconds: window.seconds,
      completed_per_second: window.completedPerSecond,
      failed_per_second: window.failedPerSecond,
      retried_per_second: window.retriedPerSecond,
    },
    totals: { completed: totals.completed, failed: totals.dead, retried: totals.retry, cancelled: totals.cancelled },
    wait_ms: waitMs ?? null,
    run_ms: runMs ?? null,
    workers: { count: workers, slots, busy },
  };
}
