import { metrics } from '@opentelemetry/api';
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { describe, expect, it } from 'vitest';
import { HopHistograms } from './hop-histograms.js';
import { METRICS } from './metrics.js';
import { histogramText } from './prometheus-text.js';
import { observeWorker } from './worker-metrics.js';

describe('observeWorker', () => {
  it('shows the sums of all workers of a queue to the registered SDK, as long as they run', async () => {
    const exporter = new PrometheusExporter({ preventServerStart: true });
    const provider = new MeterProvider({ readers: [exporter] });
    metrics.setGlobalMeterProvider(provider);
    const page = async () =>
      new PrometheusSerializer(undefined, false, undefined, false, true).serialize((await exporter.collect()).resourceMetrics);
    let reads = 0;
    const of = (completed: number) =>
      observeWorker(() => {
        reads++;
        return { queue: 'mail', lanes: [['high', { completed, dead: 1 }]] };
      });
    const stops = [of(2), of(3)];
    const line = (outcome: string) => `jetlane_worker_tasks_total{queue="mail",lane="high",outcome="${outcome}"}`;
    expect(await page()).toContain(`${line('completed')} 5`);
    expect(await page()).toContain(`${line('dead')} 2`);
    stops[0]!();
    expect(await page()).toContain(`${line('completed')} 3`);
    stops[1]!();
    stops[1]!();
    reads = 0;
    await page();
    expect(reads).toBe(0);
    metrics.disable();
    await provider.shutdown();
  });
});

describe('HopHistograms', () => {
  it('count every hop that took place from the one before, and are shown as Prometheus text', () => {
    const hops = new HopHistograms();
    hops.record({ created: 1000, stored: 1100, fetched: 1100, started: 1350, finished: 3350, settled: 3351 });
    hops.record({ created: 0, stored: 5000, fetched: 4990, started: 0, finished: 5100, settled: 0 });
    expect([hops.of('stored').count, hops.of('fetched').count, hops.of('started').count]).toEqual([1, 2, 1]);
    expect(hops.of('finished').percentile(50)).toBeGreaterThanOrEqual(110_000);
    expect(hops.of('settled').count).toBe(1);
    const text = histogramText(METRICS.taskHop, [
      { labels: { queue: 'q', lane: 'low', hop: 'started' }, histogram: hops.of('started') },
      { labels: { queue: 'q', lane: 'low', hop: 'none' }, histogram: new HopHistograms().of('started') },
    ]);
    expect(text).toContain(
      '# TYPE jetlane_task_hop_seconds histogram\njetlane_task_hop_seconds_bucket{queue="q",lane="low",hop="started",',
    );
    expect(text).toContain('jetlane_task_hop_seconds_bucket{queue="q",lane="low",hop="started",le="0.25"} 1');
    expect(text).toContain('jetlane_task_hop_seconds_count{queue="q",lane="low",hop="started"} 1');
    expect(text).not.toContain('hop="none"');
    expect(histogramText(METRICS.taskHop, [])).toBe('');
  });
});
