import type { ServiceContext } from '@jetlane/nestjs/service';
import { OUTCOMES } from '@jetlane/protocol';
import { histogramText, METRICS, type MetricSpec } from '@jetlane/telemetry';
import type { Ledger } from './ledger.js';
import type { LiveWorkers } from './live-workers.js';

type Meter = ServiceContext['meter'];
/** Takes one value of an instrument with its labels. */
interface Observer {
  observe(value: number, labels: Record<string, string>): void;
}

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
  const series = ledger
    .queueNames()
    .flatMap((queue) => [...ledger.lanes(queue)].map(([lane, times]) => ({ labels: { queue, lane }, histogram: times[which] })));
  return histogramText(spec, series);
}
