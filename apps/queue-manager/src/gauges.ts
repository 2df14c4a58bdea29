import type { LaneStats } from '@jetlane/client';
import type { ServiceContext } from '@jetlane/nestjs/service';
import { LANES } from '@jetlane/protocol';
import { METRICS, type MetricSpec } from '@jetlane/telemetry';
import type { QueueManager } from './queue-manager.js';
import type { SearchComponent } from './search/search-component.js';

/** Shows the live view of all lanes at `/metrics`. */
export function exposeGauges(meter: ServiceContext['meter'], manager: QueueManager): void {
  gauge(meter, manager, METRICS.queueDepth, (lane) => lane.depth);
  gauge(meter, manager, METRICS.queueAckPending, (lane) => lane.ackPending);
  gauge(meter, manager, METRICS.queueOldestAge, (lane) => (lane.oldestAgeMs ?? 0) / 1000);
}

function gauge(
  meter: ServiceContext['meter'],
  manager: QueueManager,
  { name, unit, description }: MetricSpec,
  value: (lane: LaneStats) => number,
): void {
  meter.createObservableGauge(name, { unit, description }).addCallback((result) => {
    for (const { queue, lanes } of manager.stats()) {
      for (const lane of LANES) result.observe(value(lanes[lane]), { queue, lane });
    }
  });
}

/** Shows at `/metrics` how far the projection of finished tasks is behind. */
export function exposeLag(meter: ServiceContext['meter'], search: SearchComponent): void {
  for (const [{ name, unit, description }, field, divisor] of [
    [METRICS.searchPending, 'pending', 1],
    [METRICS.searchLag, 'lag_ms', 1000],
  ] as const) {
    meter.createObservableGauge(name, { unit, description }).addCallback((result) => {
      const lag = search.lag();
      if (lag.state !== 'off') result.observe(lag[field] / divisor);
    });
  }
}
