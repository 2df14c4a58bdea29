import { JetlaneError, type Lane } from '@jetlane/protocol';
import type { Connection } from './connection.js';
import { JsonBucket } from './json-bucket.js';
import { type ConsumerState, consumerState } from './lane-list.js';
import { enforcePause, holdLane, MOVING_MS } from './queue-pause.js';

/** Longest time that a lane is held, ms: the server ends it by itself if we die. */
const HOLD_MS = 3000;
/** So long before the end of a hold nothing is begun any more, ms: clocks differ, and a message is under way for a while. */
const MARGIN_MS = 1000;
const LOOKS = 100;
const LOOK_MS = 20;
/** The server forgets locks of holds after this time. */
const LOCK_MS = 60_000;

/** What may be in somebody's hand: it must be left alone. */
export interface InHand {
  /** All up to this sequence was handed out. */
  readonly delivered: number;
  /**
   * All that was stored before this time, ms since 1970. Not 0 for one lease after a consumer was made: if it replaces one that was deleted, it
   * does not know what that one had handed out. A lane that was moved to another storage knows.
   */
  readonly storedBefore: number;
}

/** A lane that hands out nothing for a moment. */
export interface HeldLane extends InHand {
  /** Up to when something may be begun, by `performance.now()`. */
  readonly until: number;
}

/** What of a lane may be in somebody's hand now. One request; `state` if it was asked for already. */
export async function inHand(connection: Connection, queue: string, lane: Lane, state?: ConsumerState): Promise<InHand> {
  const found = state ?? (await laneState(connection, queue, lane));
  if (!found) return { delivered: 0, storedBefore: 0 };
  const age = (await connection.clock.toServer(Date.now())) - found.createdAt;
  const knows = found.knowsAll || age >= (found.backoffMs[0] ?? 0);
  return { delivered: found.deliveredSequence, storedBefore: knows ? 0 : found.createdAt };
}

/** True for a task that may be in somebody's hand. */
export const mayBeInHand = ({ sequence, storedAt }: { sequence: number; storedAt: number }, held: InHand): boolean =>
  sequence <= held.delivered || storedAt < held.storedBefore;

/** The state of a lane's consumer. One request. */
export const laneState = (connection: Connection, queue: string, lane: Lane): Promise<ConsumerState | undefined> => {
  const { stream, consumer } = connection.names.lane(queue, lane);
  return consumerState(connection, stream, consumer);
};

/** When a lane may be dealt with that is paused anyway, or that hands out nothing so far back, by `performance.now()`. */
export const holdEnd = (): number => performance.now() + HOLD_MS - MARGIN_MS;

/** True when a pause outlasts every hold, so that none is needed. */
export async function isResting(connection: Connection, state: ConsumerState): Promise<boolean> {
  return state.paused && (state.pausedUntil ?? 0) > (await connection.clock.toServer(Date.now())) + 10 * HOLD_MS;
}

/**
 * Does something with tasks of a lane while nobody can be handed one of them: the workers' consumer is paused meanwhile. Lanes hand out in
 * order, so what is above the last delivered sequence is in nobody's hand, and stays so. One process at a time holds a lane, under a
 * lock; a second one waits. Crash: the pause ends by itself after three seconds, and the lock with it. Test: drop-oldest-crash.spec.
 * @param act begins nothing after `until`
 * @throws JetlaneError `request-timeout` when the lane could not be held; `permission-denied`, and what `act` throws
 */
export async function holdingLane<T>(connection: Connection, queue: string, lane: Lane, act: (held: HeldLane) => Promise<T>): Promise<T> {
  const lock = await HoldLock.take(connection, queue, lane);
  try {
    // A move holds it until it is done, and a shorter hold would end that.
    if ((await laneState(connection, queue, lane))?.pausedUntil === MOVING_MS) throw couldNot(queue, lane);
    const until = await holdLane(connection, queue, lane, HOLD_MS);
    const still = await standsStill(connection, queue, lane, until);
    return await act({ ...(await inHand(connection, queue, lane, still)), until: lock.begun + HOLD_MS - MARGIN_MS });
  } finally {
    // A link that broke: the hold ends by itself, and the next round of `Pauses` sets what an operator wants. After a hold that was
    // too long the lane may be held by another process, and is left to it.
    if (lock.stands) await enforcePause(connection, queue, [lane], true).catch(() => undefined);
    await lock.release().catch(() => undefined);
  }
}

/** In a cluster the pause is confirmed before the consumer's leader knows of it; and what it knows may be the hold before this one. */
async function standsStill(connection: Connection, queue: string, lane: Lane, until: number): Promise<ConsumerState> {
  for (let looks = 0; looks < LOOKS; looks++) {
    const state = await laneState(connection, queue, lane);
    if (state?.pausedUntil === until) return state;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  throw couldNot(queue, lane);
}

const couldNot = (queue: string, lane: Lane): JetlaneError =>
  new JetlaneError('request-timeout', `lane "${lane}" of queue "${queue}" could not be held; it is tried again`, {
    details: { queue, lane },
  });

interface HoldEntry {
  /** When it ends by itself, ms since 1970 by the server's clock. */
  readonly until: number;
}

/** Whoever has it may hold the lane. It is free when its time is up, so one whose owner died is in nobody's way for long. */
class HoldLock {
  private constructor(
    private readonly bucket: JsonBucket<HoldEntry>,
    private readonly key: string,
    private readonly revision: number,
    /** Before it was asked for: its time ends no earlier. */
    readonly begun: number,
  ) {}

  /** Waits for the one before. */
  static async take(connection: Connection, queue: string, lane: Lane): Promise<HoldLock> {
    const bucket = await JsonBucket.open<HoldEntry>(connection, connection.names.bucket('queue_locks'), 1, LOCK_MS);
    const key = `hold.${queue}.${lane}`;
    for (const patience = performance.now() + 4 * HOLD_MS; performance.now() < patience; ) {
      const begun = performance.now();
      const now = Math.round(await connection.clock.toServer(Date.now()));
      const entry = await bucket.get(key);
      if (!entry || entry.value.until < now) {
        const value = { until: now + HOLD_MS };
        const revision = entry ? await bucket.update(key, value, entry.revision) : await bucket.insert(key, value);
        if (revision !== undefined) return new HoldLock(bucket, key, revision, begun);
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    throw couldNot(queue, lane);
  }

  /** False when another one may have it by now. */
  get stands(): boolean {
    return performance.now() < this.begun + HOLD_MS - MARGIN_MS / 2;
  }

  async release(): Promise<void> {
    if (this.stands) await this.bucket.update(this.key, { until: 0 }, this.revision);
  }
}
