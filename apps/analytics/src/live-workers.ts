import type { Heartbeat } from '@jetlane/protocol';

/** A worker that is silent for longer is taken for gone: three heartbeats and a bit. */
export const SILENT_MS = 3500;

/** The live workers of a queue. */
export interface LiveCount {
  readonly workers: number;
  readonly slots: number;
  readonly busy: number;
}

/** Who lives, by heartbeats. */
export class LiveWorkers {
  private readonly seen = new Map<string, { readonly beat: Heartbeat; readonly at: number }>();

  constructor(
    /** Silence in ms after which a worker is taken for gone. */
    readonly silentMs = SILENT_MS,
    private readonly now: () => number = () => performance.now(),
  ) {}

  heard(beat: Heartbeat): void {
    const key = `${beat.queue}.${beat.worker}`;
    if (beat.stopping) this.seen.delete(key);
    else this.seen.set(key, { beat, at: this.now() });
  }

  /** True while heartbeats of the worker come. */
  lives(queue: string, worker: string): boolean {
    const entry = this.seen.get(`${queue}.${worker}`);
    return entry !== undefined && this.now() - entry.at <= this.silentMs;
  }

  /** Counts by queue; queues without a live worker are missing. */
  byQueue(): Map<string, LiveCount> {
    const counts = new Map<string, LiveCount>();
    for (const [key, { beat, at }] of this.seen) {
      if (this.now() - at > this.silentMs) {
        this.seen.delete(key);
        continue;
      }
      const { workers, slots, busy } = counts.get(beat.queue) ?? { workers: 0, slots: 0, busy: 0 };
      counts.set(beat.queue, { workers: workers + 1, slots: slots + beat.slots, busy: busy + beat.busy });
    }
    return counts;
  }
}
