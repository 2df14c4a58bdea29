import { type Connection, streamExists } from '@jetlane/jetstream';
import { LANES, type Lane } from '@jetlane/protocol';
import { RecentNames } from './recent-names.js';

/** How long an answer of a lane proves that it exists, in ms. */
const TRUSTED_MS = 2000;
const WINDOW_MS = 5000;
/** Postponements that one full lane may cause per second. */
const POSTPONED_PER_SECOND = 1000;
const LONGEST_SPREAD_MS = 60_000;
/** Those of a thousand queues. Anybody who may set timers may make up names; a lane that was forgotten is asked for anew. */
const MOST_LANES = 1000 * LANES.length;

interface LaneState {
  seenAt: number;
  probe: Promise<boolean> | undefined;
  windowStart: number;
  postponed: number;
}

/**
 * What the scheduler knows about lanes. A publish to a missing lane is answered by nobody and holds its place in the
 * publish window until its deadline; so a lane that did not answer lately is asked for first, once for all who wait.
 */
export class LaneWatch {
  private readonly lanes = new RecentNames<LaneState>(MOST_LANES, fresh);

  constructor(private readonly connection: Connection) {}

  /** The lane has just answered. */
  seen(queue: string, lane: Lane): void {
    this.state(queue, lane).seenAt = performance.now();
  }

  /** The lane did not answer: ask before the next publish. */
  doubt(queue: string, lane: Lane): void {
    this.state(queue, lane).seenAt = Number.NEGATIVE_INFINITY;
  }

  /** True at once for a lane that answered lately; else after one request. */
  exists(queue: string, lane: Lane): boolean | Promise<boolean> {
    const state = this.state(queue, lane);
    if (performance.now() - state.seenAt < TRUSTED_MS) return true;
    state.probe ??= streamExists(this.connection, this.connection.names.lane(queue, lane).stream)
      .then((exists) => {
        if (exists) state.seenAt = performance.now();
        return exists;
      })
      .finally(() => {
        state.probe = undefined;
      });
    return state.probe;
  }

  /**
   * Delay before a task tries a full lane again, in ms: 1 to 5 s at random. When more tasks wait for the lane than can
   * try in that time they spread over a longer one: a full lane with many timers must not use up the scheduler.
   */
  postponement(queue: string, lane: Lane, random: () => number = Math.random): number {
    const state = this.state(queue, lane);
    const now = performance.now();
    if (now - state.windowStart > WINDOW_MS) [state.windowStart, state.postponed] = [now, 0];
    state.postponed++;
    const spread = Math.min(LONGEST_SPREAD_MS, Math.max(4000, (state.postponed / POSTPONED_PER_SECOND) * 1000));
    return Math.round(1000 + random() * spread);
  }

  private state(queue: string, lane: Lane): LaneState {
    return this.lanes.of(`${queue}.${lane}`)!;
  }
}

const fresh = (): LaneState => ({ seenAt: Number.NEGATIVE_INFINITY, probe: undefined, windowStart: 0, postponed: 0 });
