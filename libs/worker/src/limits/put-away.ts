import { leaderGet, type TaskStore } from '@jetlane/jetstream';
import { decodeHeaders, JetlaneError } from '@jetlane/protocol';
import type { HeldTask } from '../held-task.js';
import { settledBy } from '../redelivery.js';
import type { Settler } from '../settle.js';
import { isOvertaken } from '../withdrawal.js';

/** What a task is put away with. */
export interface PutAwayParts {
  readonly store: TaskStore;
  readonly settler: Settler;
  /** The task may have been settled by an earlier delivery. */
  readonly doubtful: boolean;
}

/**
 * Sends a task that never ran back to its lane by a timer, and looks again whether it was cancelled meanwhile, as a retry does.
 * Crash before the timer: the lease expires and the task is delivered again as it is. Between timer and ack: the redelivery finds
 * the timer, or what became of it, of a higher hop, and only acks; when it was cancelled, it takes the timer back first. After: done.
 * Tests: limits-groups.spec "put away", cancel-overtakes.spec.
 * @throws LeaseLostError, and what no repetition mends
 */
export async function putAway(task: HeldTask, delayMs: number, { store, settler, doubtful }: PutAwayParts): Promise<void> {
  const { queue, lane, key, headers, delivery } = task;
  const { record, copies } = await settler.stored(task, () => whatStands(task, store, doubtful));
  const settled = settledBy(headers.hop, record, copies);
  if (settled === undefined) {
    const { hop, attempt } = headers;
    const at = Date.now() + delayMs;
    const copy = { hop: hop + 1, attempt, headers: decodeHeaders(delivery.headers), data: delivery.data };
    const timer = { queue, lane, key, at, ...copy, stillWanted: () => settler.owns(task) };
    try {
      await settler.stored(task, () => store.setTimer(timer));
    } catch (error) {
      if (!(error instanceof JetlaneError) || error.code !== 'payload-too-large') throw error;
      // A payload that leaves no room for a timer's headers: the server deals it out again, in its turn.
      await settler.handBack(task, { kind: 'interrupted' });
      return;
    }
  }
  if (settled === undefined || isOvertaken(headers.hop, settled, copies)) await settler.withdraw(task, delayMs);
  await settler.acknowledge(task, { kind: 'interrupted' });
}

/** A first delivery is known by its record alone: it may have been cancelled. */
async function whatStands({ queue, key }: HeldTask, store: TaskStore, doubtful: boolean) {
  if (doubtful) return store.traces(queue, key, leaderGet);
  return { ...(await store.record(queue, key, leaderGet)), copies: [] };
}
