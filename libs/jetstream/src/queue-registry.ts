import { JetlaneError, type QueueDefinition } from '@jetlane/protocol';
import type { Connection } from './connection.js';
import { JsonBucket } from './json-bucket.js';
import { provisionBase, provisionQueue } from './provisioning.js';
import { untilAnswered } from './until-answered.js';

/** The bucket of queue definitions: what everybody agrees the queues are. Key: the queue's name. */
export function openQueueBucket(connection: Connection): Promise<JsonBucket<QueueDefinition>> {
  return JsonBucket.open<QueueDefinition>(connection, connection.names.bucket('queues'), 16);
}

/** Entries of workers that are gone leave the bucket by themselves. */
const LIMITS_KEPT_MS = 60_000;
/** Entries of one worker that the bucket keeps: a reader that is seconds late still gets them all, in order. */
const LIMITS_HISTORY = 8;

/** The bucket in which workers share the limits of their queues. The queue-manager makes it: workers need no permission to. */
export function openLimitsBucket<T>(connection: Connection): Promise<JsonBucket<T>> {
  return JsonBucket.open<T>(connection, connection.names.bucket('limits'), LIMITS_HISTORY, LIMITS_KEPT_MS);
}

/**
 * Defines a queue if nobody did and makes sure that its streams stand. The stored definition wins over the given one.
 * Idempotent; several processes may do it at once.
 * @returns the definition that holds
 * @throws JetlaneError `server-too-old`, `stream-mismatch`, `jetstream-api`
 */
export async function ensureQueue(connection: Connection, definition: QueueDefinition): Promise<QueueDefinition> {
  await provisionBase(connection);
  const holds = await untilAnswered(() => define(connection, definition));
  if (!holds)
    throw new JetlaneError('unknown-queue', `queue "${definition.name}" was deleted while it was being opened; start again`, {
      details: { queue: definition.name },
    });
  await provisionQueue(connection, holds);
  return holds;
}

/** Looks for a definition that somebody else made at the same moment; the replica that is asked may not have it yet. */
const LOOKS = 20;
const LOOK_MS = 100;

async function define(connection: Connection, definition: QueueDefinition): Promise<QueueDefinition | undefined> {
  const bucket = await openQueueBucket(connection);
  // Looked for before it is made: workers and producers may not define queues, and need not where one is defined.
  const stored = await bucket.get(definition.name);
  if (stored) return stored.value;
  if (await bucket.create(definition.name, definition)) return definition;
  for (let looks = 1; ; looks++) {
    const found = await bucket.get(definition.name);
    if (found || looks === LOOKS) return found?.value;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
