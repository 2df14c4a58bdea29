import { type Connection, type ConsumerState, consumerState, enforcePause, holdLane } from '@jetlane/jetstream';
import { JetlaneError, type Lane } from '@jetlane/protocol';

/** Longest time that a lane is held, ms: the server ends it by itself if we die. */
const HOLD_MS = 5000;
/** So far behind the last delivered task nothing can be handed out while a chunk is dealt with: 0.4 s at the highest rate that was measured. */
const FAR = 50_000;
const LOOKS = 100;
const LOOK_MS = 20;

/** What may be in somebody's hand: it must be left alone. */
export interface InHand {
  /** All up to this sequence was handed out. */
  readonly delivered: number;
  /**
   * All that was stored before this time, ms since 1970. Not 0 for one lease after a consumer was made: if it replaces one that was deleted, it
   * does not know what that one had handed out.
   */
  readonly storedBefore: number;
}

/** What was found while a lane stood still. */
export interface Guarded<T> {
  readonly result: T;
  /** Last sequence that was handed out when all was done: what is above it was in nobody's hand all the time. */
  readonly delivered: number;
}

/**
 * Does something with tasks of a lane while nobody can be handed one of them. Lanes hand out in order, so what is above the last
 * delivered sequence is in nobody's hand, and stays so while the consumer is paused; near the front the lane is therefore held for the
 * moment that it takes. Far behind the front, and in a paused queue, it need not be.
 */
export async function guarded<T>(
  connection: Connection,
  at: { readonly queue: string; readonly lane: Lane; readonly first: number },
  act: (held: InHand) => Promise<T>,
): Promise<Guarded<T>> {
  const { queue, lane, first } = at;
  const state = await stateOf(connection, queue, lane);
  const resting = state?.paused && (state.pausedUntil ?? 0) > (await connection.clock.toServer(Date.now())) + 6 * HOLD_MS;
  if (!state || resting || first > state.deliveredSequence + FAR)
    return finish(connection, queue, lane, await act(await inHand(connection, state)));
  try {
    const until = await holdLane(connection, queue, lane, HOLD_MS);
    const still = await standsStill(connection, queue, lane, until);
    return await finish(connection, queue, lane, await act(await inHand(connection, still)));
  } finally {
    // A link that broke: the hold ends by itself, and the next round of `Pauses` sets what an operator wants.
    await enforcePause(connection, queue, [lane], true).catch(() => undefined);
  }
}

async function finish<T>(connection: Connection, queue: string, lane: Lane, result: T): Promise<Guarded<T>> {
  return { result, delivered: (await stateOf(connection, queue, lane))?.deliveredSequence ?? 0 };
}

async function inHand(connection: Connection, state: ConsumerState | undefined): Promise<InHand> {
  if (!state) return { delivered: 0, storedBefore: 0 };
  const age = (await connection.clock.toServer(Date.now())) - state.createdAt;
  return { delivered: state.deliveredSequence, storedBefore: age < (state.backoffMs[0] ?? 0) ? state.createdAt : 0 };
}

const stateOf = (connection: Connection, queue: string, lane: Lane): Promise<ConsumerState | undefined> => {
  const { stream, consumer } = connection.names.lane(queue, lane);
  return consumerState(connection, stream, consumer);
};

/** In a cluster the pause is confirmed before the consumer's leader knows of it; and what it knows may be the hold before this one. */
async function standsStill(connection: Connection, queue: string, lane: Lane, until: number): Promise<ConsumerState> {
  for (let looks = 0; looks < LOOKS; looks++) {
    const state = await stateOf(connection, queue, lane);
    if (state?.pausedUntil === until) return state;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  throw new JetlaneError('request-timeout', `lane "${lane}" of queue "${queue}" could not be held; it is tried again`);
}
