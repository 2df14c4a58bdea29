import { type Connection, countHeld, deleteLanes, type HeldTasks, provisionQueue, sealLanes, streamExists } from '@jetlane/jetstream';
import { DEFAULT_LANE, JetlaneError, type QueueDefinition } from '@jetlane/protocol';
import type { DefinitionStore } from './definition-store.js';

export interface RemovalOptions {
  readonly revision?: number | undefined;
  /** Tasks and timers are thrown away. */
  readonly force?: boolean | undefined;
  /** Told after each step, for tests that end the process there. */
  readonly onStep?: (step: 'undefined' | 'sealed') => void;
}

/**
 * Deletes a queue: its definition, so that nobody enqueues any more; then its lanes are sealed, so that what nobody has heard of yet finds
 * no stream and stays with its sender; only then it is counted for good whether there is anything to lose.
 * Crash before the definition is gone: nothing happened. After it: the queue is unknown and its lanes stand, with all that is in them;
 * deleting it again goes on, defining it again brings everything back. Tests: queue-removal.spec "ended after".
 * @returns what was thrown away, and the definition as it was
 * @throws UnknownQueueError, JetlaneError `revision-conflict`, `queue-not-empty`
 */
export async function removeQueueSafely(
  connection: Connection,
  store: DefinitionStore,
  queue: string,
  { revision, force = false, onStep = () => undefined }: RemovalOptions,
): Promise<{ dropped: number; before: QueueDefinition | undefined }> {
  if (!force) assertEmpty(queue, await countHeld(connection, queue));
  const before = await removeDefinition(connection, store, queue, revision);
  onStep('undefined');
  await sealLanes(connection, queue);
  onStep('sealed');
  const held = await countHeld(connection, queue);
  if (!force && isHeld(held)) {
    // Somebody was quicker: the queue is as it was.
    if (before) {
      await (await store.bucket()).insert(queue, before);
      await provisionQueue(connection, before);
    }
    assertEmpty(queue, held);
  }
  await deleteLanes(connection, queue);
  return { dropped: held.tasks + held.timers, before };
}

/** Lanes without a definition are what an earlier removal left. */
async function removeDefinition(
  connection: Connection,
  store: DefinitionStore,
  queue: string,
  revision: number | undefined,
): Promise<QueueDefinition | undefined> {
  try {
    return (await store.remove(queue, revision)).definition;
  } catch (error) {
    if (!(error instanceof JetlaneError) || error.code !== 'unknown-queue' || !(await lanesStand(connection, queue))) throw error;
    return undefined;
  }
}

async function lanesStand(connection: Connection, queue: string): Promise<boolean> {
  return streamExists(connection, connection.names.lane(queue, DEFAULT_LANE).stream);
}

const isHeld = ({ tasks, timers }: HeldTasks): boolean => tasks + timers > 0;

function assertEmpty(queue: string, held: HeldTasks): void {
  if (!isHeld(held)) return;
  throw new JetlaneError(
    'queue-not-empty',
    `queue "${queue}" holds ${held.tasks} tasks and ${held.timers} timers; drain or purge it, or delete it with force, which throws them away`,
    { details: { queue, ...held } },
  );
}
