import { METRICS, type MetricSpec } from '@jetlane/telemetry';

/** Folders of apps/ that run in no container of their own. */
export const APPS_WITHOUT_CONTAINER: readonly string[] = ['dashboard', 'cli'];

/** Secrets without which compose must refuse to start. */
export const REQUIRED_SECRETS = ['JETLANE_API_KEYS', 'POSTGRES_PASSWORD'] as const;

/** Every series that a dashboard may ask for, by its Prometheus name, with its labels. */
export function exportedSeries(): Map<string, readonly string[]> {
  // Prometheus' own: 1 for each target that answered.
  const series = new Map<string, readonly string[]>([['up', []]]);
  for (const metric of Object.values<MetricSpec>(METRICS)) {
    const name = metric.name.replaceAll('.', '_');
    const labels = metric.labels.map((label) => label.replaceAll('.', '_'));
    const suffixes = { counter: ['_total'], gauge: [''], histogram: ['_count', '_sum', '_bucket'] }[metric.type];
    for (const suffix of suffixes) series.set(name + suffix, suffix === '_bucket' ? [...labels, 'le'] : labels);
  }
  return series;
}
