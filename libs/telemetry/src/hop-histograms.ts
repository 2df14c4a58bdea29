import { Histogram } from './histogram.js';
import { eachHop, HOPS, type Hop, type HopMoments } from './spans.js';

/**
 * How long each hop took, over all runs of one lane in one process. Counted by our own histograms and shown as Prometheus text, since the
 * SDK's instruments cost 2 µs a value and this one 20 ns; resolution 1 ms, which is that of the times in a task's headers.
 */
export class HopHistograms {
  private readonly histograms = Object.fromEntries(HOPS.map((hop) => [hop, new Histogram()])) as Record<Hop, Histogram>;

  /** Counts the hops of a run. */
  record(moments: HopMoments): void {
    eachHop(moments, (hop, _, lengthMs) => {
      if (lengthMs !== undefined) this.histograms[hop].record(lengthMs * 1000);
    });
  }

  /** The histogram of a hop. */
  of(hop: Hop): Histogram {
    return this.histograms[hop];
  }
}
