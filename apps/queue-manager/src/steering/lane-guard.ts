import { type Connection, type HeldLane, holdEnd, holdingLane, inHand, isResting, laneState } from '@jetlane/jetstream';
import type { Lane } from '@jetlane/protocol';

/**
 * So far behind the last delivered task nothing can be handed out while a chunk is dealt with: 0.4 s at the highest rate that was measured. Only
 * where all that lies between is of the same lane: a consumer of one among several passes over the others' tasks in no time.
 */
const FAR = 50_000;

/** What was found while a lane stood still. */
export interface Guarded<T> {
  readonly result: T;
  /** Last sequence that was handed out when all was done: what is above it was in nobody's hand all the time. */
  readonly delivered: number;
}

/**
 * Does something with tasks of a lane while nobody can be handed one of them; see `holdingLane`. Far behind the front, and in a paused
 * queue, the lane need not be held.
 */
export async function guarded<T>(
  connection: Connection,
  at: { readonly queue: string; readonly lane: Lane; readonly first: number },
  act: (held: HeldLane) => Promise<T>,
): Promise<Guarded<T>> {
  const { queue, lane, first } = at;
  const until = holdEnd();
  const state = await laneState(connection, queue, lane);
  const alone = connection.names.laneStream(queue, lane).lanes.length === 1;
  const free = !state || (alone && first > state.deliveredSequence + FAR) || (await isResting(connection, state));
  // Looked at before the lane goes on: then its consumer may pass over what is gone, as if it had handed that out.
  const acted = async (held: HeldLane) => ({
    result: await act(held),
    delivered: (await laneState(connection, queue, lane))?.deliveredSequence ?? 0,
  });
  return free ? acted({ ...(await inHand(connection, queue, lane, state)), until }) : holdingLane(connection, queue, lane, acted);
}
