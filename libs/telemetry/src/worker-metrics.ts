import { metrics, type ObservableResult } from '@opentelemetry/api';
import { METRICS } from './metrics.js';
import { SCOPE } from './tracer.js';

/** Outcomes that a worker has counted since its start, by lane. */
export interface WorkerCounts {
  readonly queue: string;
  readonly lanes: Iterable<readonly [lane: string, counts: Readonly<Partial<Record<string, number>>>]>;
}

const workers = new Set<() => WorkerCounts>();
let stopObserving: (() => void) | undefined;

/**
 * Shows what a worker has counted through the metrics API: to whatever SDK is registered when the first worker of the process starts. It is
 * read when the SDK collects, so that a task costs nothing. Returns the way to end that.
 */
export function observeWorker(read: () => WorkerCounts): () => void {
  workers.add(read);
  stopObserving ??= observe();
  return () => {
    if (!workers.delete(read) || workers.size > 0) return;
    stopObserving?.();
    stopObserving = undefined;
  };
}

function observe(): () => void {
  const { name, unit, description } = METRICS.workerTasks;
  const counter = metrics.getMeter(SCOPE).createObservableCounter(name, { unit, description });
  counter.addCallback(tell);
  return () => counter.removeCallback(tell);
}

/** Several workers of one queue are one line: the SDK would keep the last of them. */
function tell(result: ObservableResult): void {
  const sums = new Map<string, { value: number; labels: { queue: string; lane: string; outcome: string } }>();
  for (const read of workers) {
    const { queue, lanes } = read();
    for (const [lane, counts] of lanes) {
      for (const [outcome, count = 0] of Object.entries(counts)) {
        const key = `${queue} ${lane} ${outcome}`;
        const sum = sums.get(key) ?? { value: 0, labels: { queue, lane, outcome } };
        sum.value += count;
        sums.set(key, sum);
      }
    }
  }
  for (const { value, labels } of sums.values()) result.observe(value, labels);
}
