import {
  type Connection,
  type ConsumerState,
  consumerState,
  directGetBatch,
  directGetNext,
  type ListedStream,
  listLaneStreams,
} from '@jetlane/jetstream';
import type { Lane, LaneLocation } from '@jetlane/protocol';
import type { OrphanMover } from './orphan-mover.js';
import { MOST_WATCHED, SilenceWatch } from './silence.js';

export interface SweeperOptions {
  readonly mover: OrphanMover;
  /** Pause between two sweeps, in ms. Default 10,000. */
  readonly intervalMs?: number;
  readonly log: { warn(facts: object, event: string): void };
}

interface WatchedLane extends LaneLocation {
  readonly queue: string;
  readonly lane: Lane;
  readonly state: ConsumerState;
}

/** Most orphans that one sweep moves out of one lane. */
const BATCH = 5000;
const BATCH_BYTES = 4 * 1024 * 1024;
const AT_ONCE = 16;
/** How long a consumer may go unanswered, ms: all other queues wait for it. */
const ANSWER_MS = 2000;

/**
 * Finds orphans whose advisory was lost. The server tells nobody which messages are in hand, so only those are taken of
 * which it follows from the consumer's state, read in one answer:
 *
 * 1. sequence ≤ ack floor: nothing at or below the floor is in hand, and nothing below the last delivered one is still
 *    to be handed out for the first time. Holds in a busy lane.
 * 2. nothing is in hand at all: every message up to the last delivered one.
 *
 * A message that is in hand or still to be delivered is in neither set; resiliency-sweeper.spec lets the rules loose on a busy
 * lane. The floor passes an orphan as soon as an earlier task is settled after the orphan's end, or the lane has nothing
 * in hand for a moment; for one that is itself among the oldest of a lane that never rests there is
 *
 * 3. no sign of life for as long as all its deliveries can last: see {@link SilenceWatch}.
 */
export class Sweeper {
  private readonly silence: SilenceWatch;
  private timer: NodeJS.Timeout | undefined;
  private sweeping: Promise<number> | undefined;
  private suspects = new Set<string>();
  private stopped = false;

  constructor(
    private readonly connection: Connection,
    private readonly options: SweeperOptions,
  ) {
    this.silence = new SilenceWatch(connection);
  }

  start(): void {
    const next = () => {
      // Jitter, so that several sweepers do not ask at the same moment for ever.
      const pause = (this.options.intervalMs ?? 10_000) * (0.8 + 0.4 * Math.random());
      this.timer = setTimeout(() => void this.sweep().then(next), pause);
      this.timer.unref();
    };
    next();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.sweeping;
    this.silence.close();
  }

  /** One round over all lanes. Never throws. @returns how many orphans were dealt with */
  sweep(): Promise<number> {
    this.sweeping ??= this.round()
      .catch((error: unknown) => {
        this.options.log.warn({ error: error instanceof Error ? error.message : String(error) }, 'sweep:failed');
        return 0;
      })
      .finally(() => {
        this.sweeping = undefined;
      });
    return this.sweeping;
  }

  private async round(): Promise<number> {
    if (this.connection.state !== 'connected') return 0;
    const before = this.suspects;
    this.suspects = new Set();
    let found = 0;
    for (const stream of await listLaneStreams(this.connection)) {
      if (this.stopped) break;
      if (stream.depth > 0 && stream.consumers > 0) found += await this.tryLook(stream, before.has(stream.stream));
    }
    return found;
  }

  /** A queue that does not answer, as while a leader is elected, is in no other's way; what was odd about it before still counts. */
  private async tryLook(place: ListedStream, suspect: boolean): Promise<number> {
    return this.look(place, suspect).catch((error: unknown) => {
      if (this.connection.state !== 'connected') throw error;
      if (suspect) this.suspects.add(place.stream);
      const { queue, stream } = place;
      this.options.log.warn({ queue, stream, error: error instanceof Error ? error.message : String(error) }, 'sweep:queue-failed');
      return 0;
    });
  }

  /**
   * Stream and consumers are asked one after the other and race each other: only a stream that looks odd twice is judged by their states.
   * Each lane is judged by its own consumer alone, which says nothing about the messages of other lanes.
   */
  private async look(place: ListedStream, suspect: boolean): Promise<number> {
    const lanes = await this.lanesOf(place);
    const rest = lanes.reduce((sum, { state }) => sum - state.pending - state.ackPending, place.depth);
    // What the lane of a missing consumer holds is not known: it is no sign.
    const odd = (rest > 0 && lanes.length === place.lanes.length) || lanes.some(({ state }) => state.redelivered > state.ackPending);
    if (odd) this.suspects.add(place.stream);
    const { epoch } = this.connection;
    let found = 0;
    for (const lane of lanes) {
      if (!odd && !this.silence.listens(lane)) continue;
      const sure = suspect && odd ? await this.sure(lane, place.firstSequence) : [];
      found += await this.move(lane, [...sure, ...(await this.silent(lane, odd))], epoch);
    }
    return found;
  }

  private async lanesOf({ queue, lanes }: ListedStream): Promise<WatchedLane[]> {
    const found = lanes.map(async (lane) => {
      const location = this.connection.names.lane(queue, lane);
      const state = await consumerState(this.connection, location.stream, location.consumer, ANSWER_MS);
      return state ? [{ queue, lane, ...location, state }] : [];
    });
    return (await Promise.all(found)).flat();
  }

  /** By the first two rules. */
  private async sure(lane: WatchedLane, firstSequence: number): Promise<number[]> {
    const { state } = lane;
    const limit = state.ackPending === 0 ? state.deliveredSequence : state.ackFloor;
    return limit >= firstSequence ? this.stored(lane, 1, limit, BATCH) : [];
  }

  private async silent(lane: WatchedLane, odd: boolean): Promise<number[]> {
    const { state } = lane;
    const front = state.ackPending === 0 ? [] : await this.stored(lane, state.ackFloor + 1, state.deliveredSequence, MOST_WATCHED);
    return this.silence.observe(lane, state, front, odd);
  }

  /** Sequences of the first messages of a lane between two, both of them included. */
  private async stored({ stream, queue, lane }: WatchedLane, from: number, until: number, most: number): Promise<number[]> {
    const subject = this.connection.names.laneSubjects(queue, lane);
    const found: number[] = [];
    // In a stream of several lanes the first of this one may well be behind the stretch: one message tells.
    const first = await directGetNext(this.connection, stream, from, subject);
    let last = (first?.sequence ?? until + 1) - 1;
    while (last < until && found.length < most) {
      const batch = Math.min(500, most - found.length);
      const { messages, pending } = await directGetBatch(this.connection, stream, {
        subject,
        from: { sequence: last + 1 },
        batch,
        maxBytes: BATCH_BYTES,
      });
      found.push(...messages.flatMap(({ sequence }) => (sequence <= until ? [sequence] : [])));
      last = messages.at(-1)?.sequence ?? last;
      if (pending === 0) break;
    }
    return found;
  }

  private async move({ stream, queue, lane }: WatchedLane, orphans: readonly number[], epoch: number): Promise<number> {
    if (orphans.length > 0) this.options.log.warn({ queue, lane, orphans: orphans.length }, 'sweep:orphans-found');
    let moved = 0;
    for (let i = 0; i < orphans.length; i += AT_ONCE) {
      // After a reconnect the server may have been restarted, and then it may hand out anew what it had given up.
      if (this.connection.epoch !== epoch || this.stopped) break;
      const fates = await Promise.all(orphans.slice(i, i + AT_ONCE).map((sequence) => this.options.mover.move({ stream, sequence })));
      moved += fates.filter((fate) => fate !== 'gone').length;
    }
    return moved;
  }
}
