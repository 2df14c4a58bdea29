import type { NatsServer } from '../nats-server/server.js';
import { waitUntil } from '../process/wait-until.js';

interface Connz {
  readonly connections: readonly { readonly cid: number; readonly name?: string }[];
}

interface Jsz {
  readonly account_details?: readonly {
    readonly stream_detail?: readonly {
      readonly name: string;
      readonly consumer_detail?: readonly { readonly name: string; readonly config?: { readonly inactive_threshold?: number } }[];
    }[];
  }[];
}

/** A closed connection disappears from the server's books a moment later. */
const SETTLE_MS = 2000;

/**
 * What is open on a server that was started with a `monitorPort`: connections, and consumers that belong to one process and not to a
 * service. Waits a moment for what is just being closed.
 */
export async function findLeaks(server: NatsServer): Promise<string[]> {
  let leaks: string[] = [];
  await waitUntil(
    async () => {
      leaks = [...(await openConnections(server)), ...(await ownConsumers(server))];
      return leaks.length === 0;
    },
    { timeoutMs: SETTLE_MS, everyMs: 20 },
  );
  return leaks;
}

async function openConnections(server: NatsServer): Promise<string[]> {
  const { connections } = await read<Connz>(server, '/connz');
  return connections.map(({ cid, name }) => `connection ${cid} "${name ?? ''}"`);
}

async function ownConsumers(server: NatsServer): Promise<string[]> {
  const { account_details = [] } = await read<Jsz>(server, '/jsz?consumers=true&streams=true&config=true');
  const all = account_details.flatMap(({ stream_detail = [] }) => stream_detail);
  // A client that watches a bucket leaves its consumer to the server, which forgets it after a while.
  const streams = all.filter(({ name }) => !name.startsWith('KV_'));
  return streams.flatMap(({ name, consumer_detail = [] }) =>
    consumer_detail.filter(({ config }) => config?.inactive_threshold).map((consumer) => `consumer "${consumer.name}" of stream "${name}"`),
  );
}

async function read<T>({ monitorUrl }: NatsServer, path: string): Promise<T> {
  if (monitorUrl === undefined) throw new Error('leaks can only be found on a server that was started with a monitorPort');
  return (await (await fetch(monitorUrl + path)).json()) as T;
}
