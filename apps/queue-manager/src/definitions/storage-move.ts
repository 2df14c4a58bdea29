import { randomUUID } from 'node:crypto';
import { type Connection, JsonBucket, moveLane, needsMove } from '@jetlane/jetstream';
import { JetlaneError, type QueueDefinition } from '@jetlane/protocol';

/** A lock that its holder has not renewed for this long is free, in ms. */
const LOCK_MS = 60_000;
const RENEW_MS = 10_000;
/** How long is waited for another one who does the same, and how often it is looked whether he is done, in ms. */
const PATIENCE_MS = 20_000;
const LOOK_MS = 100;

/**
 * Brings the lanes of a queue to the storage that its definition says, where they are not there yet or somebody died while he did it.
 * One at a time: whoever changed the definition and whoever watches it do the same, and the second waits for the first.
 * @returns whether anything was moved here
 * @throws JetlaneError `jetstream-api` when another one is not done within 20 s; what {@link moveLane} throws
 */
export async function moveStorage(connection: Connection, definition: QueueDefinition): Promise<boolean> {
  for (const until = performance.now() + PATIENCE_MS; ; ) {
    const lanes = connection.names.laneStreams(definition.name).flatMap((stream) => stream.lanes.slice(0, 1));
    const wrong = (await Promise.all(lanes.map(async (lane) => ((await needsMove(connection, definition, lane)) ? [lane] : [])))).flat();
    if (wrong.length === 0) return false;
    const moved = await locked(connection, definition.name, async () => {
      for (const lane of wrong) await moveLane(connection, definition, lane);
    });
    if (moved) return true;
    if (performance.now() > until) throw busy(definition.name);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

const busy = (queue: string): JetlaneError =>
  new JetlaneError('jetstream-api', `queue "${queue}" is being moved by another process; it is done when that has ended`, {
    retryable: true,
    details: { queue },
  });

/** Does something while nobody else does something to this queue under a lock. @returns false when somebody does */
async function locked(connection: Connection, queue: string, work: () => Promise<void>): Promise<boolean> {
  const bucket = await JsonBucket.open<string>(connection, connection.names.bucket('queue_locks'), 1, LOCK_MS);
  const owner = randomUUID();
  let revision = await bucket.insert(queue, owner);
  if (revision === undefined) return false;
  const renew = async () => {
    if (revision !== undefined) revision = await bucket.update(queue, owner, revision).catch(() => revision);
  };
  const timer = setInterval(() => void renew(), RENEW_MS);
  try {
    await work();
    return true;
  } finally {
    clearInterval(timer);
    if (revision !== undefined) await bucket.remove(queue, revision).catch(() => undefined);
  }
}
