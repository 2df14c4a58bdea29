import type { Receipt } from '@jetlane/client';
import type { ServiceContext } from '@jetlane/nestjs/service';
import type { Lane } from '@jetlane/protocol';
import { METRICS } from '@jetlane/telemetry';

/**
 * Counts the tasks that the gateway stored, by queue and lane, and shows them at `/metrics`. The sums are kept here and read
 * at each scrape: an instrument that is told of every task would hash its labels every time.
 */
export class EnqueueCounter {
  private readonly queues = new Map<string, Map<Lane, number>>();

  constructor(meter: ServiceContext['meter']) {
    const { name, unit, description } = METRICS.tasksEnqueued;
    meter.createObservableCounter(name, { unit, description }).addCallback((result) => {
      for (const [queue, lanes] of this.queues) for (const [lane, count] of lanes) result.observe(count, { queue, lane });
    });
  }

  /** A duplicate is not counted: nothing was stored for it. */
  stored({ queue, lane, duplicate }: Receipt): void {
    if (duplicate) return;
    let lanes = this.queues.get(queue);
    if (!lanes) {
      lanes = new Map();
      this.queues.set(queue, lanes);
    }
    lanes.set(lane, (lanes.get(lane) ?? 0) + 1);
  }
}
