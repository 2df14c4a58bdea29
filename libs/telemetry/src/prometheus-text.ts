import type { Histogram } from './histogram.js';
import { type MetricSpec, TIME_BUCKETS } from './metrics.js';

const BOUNDS_US = TIME_BUCKETS.map((seconds) => seconds * 1e6);

/** One histogram of a metric, with its labels. */
export interface LabelledHistogram {
  readonly labels: Readonly<Record<string, string>>;
  readonly histogram: Histogram;
}

/** Histograms as Prometheus text, which the metrics API cannot express: it takes single values only. Empty ones are left out. */
export function histogramText({ name, description }: MetricSpec, series: Iterable<LabelledHistogram>): string {
  const lines: string[] = [];
  for (const { labels, histogram } of series) if (histogram.count > 0) lines.push(...linesOf(name, labels, histogram));
  return lines.length === 0 ? '' : [`# HELP ${name} ${description}`, `# TYPE ${name} histogram`, ...lines].join('\n');
}

function linesOf(name: string, labels: LabelledHistogram['labels'], histogram: Histogram): string[] {
  const text = Object.entries(labels)
    .map(([label, value]) => `${label}="${value}"`)
    .join(',');
  const buckets = histogram.cumulative(BOUNDS_US).map((count, i) => `${name}_bucket{${text},le="${TIME_BUCKETS[i]}"} ${count}`);
  return [
    ...buckets,
    `${name}_bucket{${text},le="+Inf"} ${histogram.count}`,
    `${name}_sum{${text}} ${histogram.sum / 1e6}`,
    `${name}_count{${text}} ${histogram.count}`,
  ];
}
