import type { ConsumerState } from '@jetlane/jetstream';
import type { Lane } from '@jetlane/protocol';

/** What a worker and the server say of one lane at one moment. */
export interface LaneLook {
  readonly queue: string;
  readonly lane: Lane;
  readonly freeSlots: number;
  /** Undefined: the consumer is missing. */
  readonly consumer: ConsumerState | undefined;
}

/** How long work may wait beside free slots, with nothing handed out, before that is no progress; in ms. */
export const NO_PROGRESS_MS = 5000;

/**
 * Remembers since when a lane has had work that nobody is given although slots are free. Alive and connected is not enough: a worker
 * whose pulls the server has forgotten is both. It learns at the pace at which it is asked, so the first answer is always good.
 */
export class ProgressMemory {
  private readonly lanes = new Map<string, { readonly sequence: number; readonly since: number }>();

  /** Milliseconds without progress so far; 0 when there is progress, or nothing to do. */
  stalledFor({ queue, lane, freeSlots, consumer }: LaneLook, now: number): number {
    const key = `${queue} ${lane}`;
    const waits = consumer && !consumer.paused && consumer.pending > 0 && consumer.ackPending < consumer.maxAckPending && freeSlots > 0;
    if (!waits) {
      this.lanes.delete(key);
      return 0;
    }
    const known = this.lanes.get(key);
    if (known?.sequence === consumer.deliveredSequence) return now - known.since;
    this.lanes.set(key, { sequence: consumer.deliveredSequence, since: now });
    return 0;
  }
}
