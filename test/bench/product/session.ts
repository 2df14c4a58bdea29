import { type Connection, connect, ensureQueue } from '@jetlane/jetstream';
import type { QueueDefinition } from '@jetlane/protocol';
import { type Job, QUEUE } from '../harness/contract.js';
import { WireLink } from '../wire/link.js';

/** What every product side opens: the product's connection, and a bare one to preload and to count with. */
export interface Session {
  connection: Connection;
  observer: WireLink;
  close(): Promise<void>;
}

/** Provisions the round's namespace and its queue the way the product does it. */
export async function openSession(job: Job, name: string, definition: Omit<QueueDefinition, 'name'> = {}): Promise<Session> {
  const connection = await connect({ servers: job.natsUrl, name: `bench-${name}`, namespace: job.namespace });
  await ensureQueue(connection, { ...definition, name: QUEUE });
  const observer = await WireLink.open(job.natsUrl, 'bench-observer');
  const close = async () => {
    await observer.close();
    await connection.close();
  };
  return { connection, observer, close };
}
