import type { LaneStats, QueueStats } from '@jetlane/client';
import { LANES } from '@jetlane/protocol';
import { type AnalyticsFigures, noFigures } from './analytics.js';
import type { QueueView } from './view.js';

/** Joins what the queue-manager and analytics know, by queue, ordered by name. `undefined`: analytics is missing. */
export function mergeStats(queues: readonly QueueStats[], analytics: readonly AnalyticsFigures[] | undefined): QueueView[] {
  const figures = analytics && new Map(analytics.map((entry) => [entry.queue, entry]));
  const views = queues.map((stats) => queueView(stats, figures && (figures.get(stats.queue) ?? noFigures(stats.queue))));
  return views.sort((a, b) => (a.queue_name < b.queue_name ? -1 : 1));
}

function queueView(stats: QueueStats, figures: AnalyticsFigures | undefined): QueueView {
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

function analyticsView(figures: AnalyticsFigures | undefined): AnalyticsView {
  if (!figures) return { rates: null, totals: null, wait_ms: null, run_ms: null, workers: null };
  const { window, totals, waitMs, runMs, workers, slots, busy } = figures;
  const perSecond = (count: number) => (window.seconds > 0 ? Math.round((count / window.seconds) * 1000) / 1000 : 0);
  const { outcomes } = window;
  return {
    rates: {
      window_seconds: window.seconds,
      completed_per_second: perSecond(outcomes.completed),
      failed_per_second: perSecond(outcomes.dead),
      retried_per_second: perSecond(outcomes.retry),
    },
    totals: { completed: totals.completed, failed: totals.dead, retried: totals.retry, cancelled: totals.cancelled },
    wait_ms: waitMs,
    run_ms: runMs,
    workers: { count: workers, slots, busy },
  };
}
