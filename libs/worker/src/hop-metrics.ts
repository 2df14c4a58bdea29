import { HOPS, histogramText, METRICS } from '@jetlane/telemetry';
import type { Worker } from './worker.js';

/** The metric `jetlane_task_hop_seconds` of the workers of a process, as Prometheus text: lines to add to the page that is scraped. */
export function hopMetrics(workers: Iterable<Worker>): string {
  const series = [...workers].flatMap((worker) =>
    [...worker.hopTimes()].flatMap(([lane, times]) =>
      HOPS.map((hop) => ({ labels: { queue: worker.queue, lane, hop }, histogram: times.of(hop) })),
    ),
  );
  return histogramText(METRICS.taskHop, series);
}
