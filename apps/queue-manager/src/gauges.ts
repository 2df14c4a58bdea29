import type { LaneStats } from '@jetlane/client';
import type { ServiceContext } from '@jetlane/nestjs/service';
import { LANES } from '@jetlane/protocol';
import { METRICS, type MetricSpec } from '@jetlane/telemetry';
import type { QueueManager } from './queue-manager.js';

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
