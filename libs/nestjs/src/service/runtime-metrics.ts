import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Connection } from '@jetlane/jetstream';
import { METRICS } from '@jetlane/telemetry';
import type { Meter } from '@opentelemetry/api';

/** Metrics of the process itself. Returns the way to stop measuring. */
export function observeRuntime(meter: Meter): () => void {
  const delay = monitorEventLoopDelay({ resolution: 10 });
  delay.enable();
  gauge(meter, METRICS.eventLoopLag, () => {
    // The monitor samples every 10 ms and counts that interval in.
    const lag = delay.count > 0 ? Math.max(0, delay.max / 1e9 - 0.01) : 0;
    delay.reset();
    return lag;
  });
  gauge(meter, METRICS.residentMemory, () => process.memoryUsage.rss());
  gauge(meter, METRICS.heapUsed, () => process.memoryUsage().heapUsed);
  counter(meter, METRICS.cpuSeconds, () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  return () => delay.disable();
}

/** Metrics of the link to NATS. */
export function observeConnection(meter: Meter, connection: Connection): void {
  counter(meter, METRICS.natsReconnects, () => connection.reconnects);
  gauge(meter, METRICS.natsConnected, () => (connection.state === 'connected' ? 1 : 0));
}

interface Spec {
  readonly name: string;
  readonly unit: string;
  readonly description: string;
}

function gauge(meter: Meter, { name, unit, description }: Spec, read: () => number): void {
  meter.createObservableGauge(name, { unit, description }).addCallback((result) => result.observe(read()));
}

function counter(meter: Meter, { name, unit, description }: Spec, read: () => number): void {
  meter.createObservableCounter(name, { unit, description }).addCallback((result) => result.observe(read()));
}
