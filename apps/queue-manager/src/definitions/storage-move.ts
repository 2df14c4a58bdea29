import { randomUUID } from 'node:crypto';
import { type Connection, JsonBucket, moveLane, needsMove } from '@jetlane/jetstream';
import { JetlaneError, LANES, type QueueDefinition } from '@jetlane/protocol';

/** A lock that its holder has not renewed for this long is free, in ms. */
const LOCK_MS = 60_000;
const RENEW_MS = 10_000;

/**
 * Brings the lanes of a queue to the storage that its definition says, where they are not there yet or somebody died while he did it.
 * One process at a time: the others hear that it is under way.
 * @returns whether anything was moved
 * @throws JetlaneError `jetstream-api` while another process does it; what {@link moveLane} throws
 */
export async function moveStorage(connection: Connection, definition: QueueDefinition): Promise<boolean> {
  const wrong = (await Promise.all(LANES.map(async (lane) => ((await needsMove(connection, definition, lane)) ? [lane] : [])))).flat();
  if (wrong.length === 0) return false;
  await locked(connection, definition.name, async () => {
    for (const lane of wrong) await moveLane(connection, definition, lane);
  });
  return true;
}

/** Does something while no other process does something to this queue under a lock. */
async function locked(connection: Connection, queue: string, work: () => Promise<void>): Promise<void> {
  const bucket = await JsonBucket.open<string>(connection, connection.names.bucket('queue_locks'), 1, LOCK_MS);
  const owner = randomUUID();
  let revision = await bucket.insert(queue, owner);
  if (revision === undefined)
    throw new JetlaneError('jetstream-api', `queue "${queue}" is being moved by another process; it is done when that has ended`, {
      retryable: true,
      details: { queue },
    });
  const renew = async () => {
    if (revision !== undefined) revision = await bucket.update(queue, owner, revision).catch(() => revision);
  };
  const timer = setInterval(() => void renew(), RENEW_MS);
  try {
    await work();
  } finally {
    clearInterval(timer);
    if (revision !== undefined) await bucket.remove(queue, revision).catch(() => undefined);
  }
}
