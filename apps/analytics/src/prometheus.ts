import type { ServiceContext } from '@jetlane/nestjs/service';
import { OUTCOMES } from '@jetlane/protocol';
import { type Histogram, METRICS, type MetricSpec, TIME_BUCKETS } from '@jetlane/telemetry';
import type { Ledger } from './ledger.js';
import type { LiveWorkers } from './live-workers.js';

type Meter = ServiceContext['meter'];
/** Takes one value of an instrument with its labels. */
interface Observer {
  observe(value: number, labels: Record<string, string>): void;
}

const BOUNDS_US = TIME_BUCKETS.map((seconds) => seconds * 1e6);

/** Counters and gauges, through the service's meter. */
export function observeTasks(meter: Meter, ledger: Ledger, live: LiveWorkers): void {
  const { name, unit, description } = METRICS.tasksProcessed;
  meter.createObservableCounter(name, { unit, description }).addCallback((result) => countTasks(result, ledger));
  for (const [spec, field] of [
    [METRICS.workers, 'workers'],
    [METRICS.workerSlots, 'slots'],
    [METRICS.workerBusy, 'busy'],
  ] as const) {
    meter.createObservableGauge(spec.name, { unit: spec.unit, description: spec.description }).addCallback((result) => {
      const counts = live.byQueue();
      // A queue whose last worker is gone shows zero, not a line that just ends.
      for (const queue of new Set([...ledger.queueNames(), ...counts.keys()])) result.observe(counts.get(queue)?.[field] ?? 0, { queue });
    });
  }
}

function countTasks(result: Observer, ledger: Ledger): void {
  for (const queue of ledger.queueNames()) {
    for (const [lane, { counts }] of ledger.lanes(queue)) {
      for (const outcome of OUTCOMES) {
        if (counts[outcome] > 0) result.observe(counts[outcome], { queue, lane, outcome });
      }
    }
  }
}

/** The histograms: workers counted them, and the metrics API takes single values only. */
export function renderTimes(ledger: Ledger): string {
  return [render(METRICS.taskWait, ledger, 'wait'), render(METRICS.taskRun, ledger, 'run')].filter(Boolean).join('\n');
}

function render(spec: MetricSpec, ledger: Ledger, which: 'wait' | 'run'): string {
  const lines: string[] = [];
  for (const queue of ledger.queueNames()) {
    for (const [lane, series] of ledger.lanes(queue)) lines.push(...linesOf(spec.name, `queue="${queue}",lane="${lane}"`, series[which]));
  }
  return lines.length === 0 ? '' : [`# HELP ${spec.name} ${spec.description}`, `# TYPE ${spec.name} histogram`, ...lines].join('\n');
}

function linesOf(name: string, labels: string, histogram: Histogram): string[] {
  if (histogram.count === 0) return [];
  const buckets = histogram.cumulative(BOUNDS_US).map((count, i) => `${name}_bucket{${labels},le="${TIME_BUCKETS[i]}"} ${count}`);
  return [
    ...buckets,
    `${name}_bucket{${labels},le="+Inf"} ${histogram.count}`,
    `${name}_sum{${labels}} ${histogram.sum / 1e6}`,
    `${name}_count{${labels}} ${histogram.count}`,
  ];
}
