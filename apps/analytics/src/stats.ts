import type { AnalyticsStats, LaneStats, TimePercentiles } from '@jetlane/nestjs/service';
import { LANES, type Lane } from '@jetlane/protocol';
import { Histogram } from '@jetlane/telemetry';
import { addCounts, type Counts, noCounts } from './counts.js';
import type { LaneSeries, Recent } from './lane-series.js';
import type { Ledger } from './ledger.js';
import type { LiveCount } from './live-workers.js';

/** The figures of one queue, now. */
export function statsOf(ledger: Ledger, queue: string, live: LiveCount | undefined): AnalyticsStats {
  const seconds = ledger.watchedSeconds();
  const sum: Recent = { counts: noCounts(), wait: new Histogram(), run: new Histogram() };
  const totals = noCounts();
  const lanes: Partial<Record<Lane, LaneStats>> = {};
  for (const lane of LANES) {
    const series = ledger.lanes(queue).get(lane);
    if (!series) continue;
    const recent = series.recent(ledger.second());
    lanes[lane] = laneStats(series.counts, recent, seconds);
    include(sum, totals, series, recent);
  }
  const { workers, slots, busy } = live ?? { workers: 0, slots: 0, busy: 0 };
  return { queue, ...laneStats(totals, sum, seconds), lanes, workers, slots, busy };
}

function include(sum: Recent, totals: Counts, series: LaneSeries, recent: Recent): void {
  addCounts(totals, series.counts);
  addCounts(sum.counts, recent.counts);
  sum.wait.add(recent.wait);
  sum.run.add(recent.run);
}

function laneStats(totals: Counts, { counts, wait, run }: Recent, seconds: number): LaneStats {
  return {
    window: {
      seconds: round(seconds),
      outcomes: { ...counts },
      completedPerSecond: round(counts.completed / seconds),
      failedPerSecond: round((counts.retry + counts.dead) / seconds),
    },
    totals: { ...totals },
    waitMs: percentiles(wait),
    runMs: percentiles(run),
  };
}

function percentiles(histogram: Histogram): TimePercentiles | null {
  if (histogram.count === 0) return null;
  const ms = (percent: number): number => round(histogram.percentile(percent) / 1000);
  return { p50: ms(50), p95: ms(95), p99: ms(99) };
}

/** Three decimals: microseconds of milliseconds. */
const round = (value: number): number => Math.round(value * 1000) / 1000;
