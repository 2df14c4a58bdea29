import { TaskClient } from '@jetlane/client';
import { type Connection, type ConnectOptions, ensureQueue, TaskStore } from '@jetlane/jetstream';
import type { QueueDefinition, StateRecord, Topology } from '@jetlane/protocol';
import { Broker } from './broker.js';

/** A broker with one installation on it, a client, and hands to do what workers do. */
export class Installation {
  private readonly clients: TaskClient[] = [];

  private constructor(
    readonly broker: Broker,
    readonly connection: Connection,
    readonly client: TaskClient,
    readonly store: TaskStore,
  ) {}

  static open(namespace: string, ...queues: QueueDefinition[]): Promise<Installation> {
    return Installation.openAs('lanes', namespace, ...queues);
  }

  static async openAs(topology: Topology, namespace: string, ...queues: QueueDefinition[]): Promise<Installation> {
    const broker = await Broker.start(namespace);
    const connection = await broker.connect({ topology });
    for (const queue of queues) await ensureQueue(connection, queue);
    return new Installation(broker, connection, new TaskClient(connection), new TaskStore(connection));
  }

  /** Another producer, as another process would have. */
  async producer(options: ConnectOptions = {}): Promise<TaskClient> {
    const client = new TaskClient(await this.broker.connect(options));
    this.clients.push(client);
    return client;
  }

  /** Writes down what became of a task, as a worker does. */
  finish(id: string, fields: Partial<StateRecord> = {}): Promise<unknown> {
    const [queue, key] = id.split('.') as [string, string];
    return this.store.writeRecord(
      queue,
      key,
      { id, hop: 1, state: 'completed', attempt: 1, at: { finished: Date.now() }, ...fields },
      60_000,
    );
  }

  /** Messages in a stream. */
  async messages(stream: string): Promise<number> {
    return (await (await this.connection.admin()).streams.info(stream)).state.messages;
  }

  async close(): Promise<void> {
    await Promise.all([this.client, ...this.clients].map((client) => client.close()));
    await this.broker.stop();
  }
}

/** How many requests a connection sends from now on. Publishes go another way and are not among them. */
export function countSent(connection: Connection): () => number {
  const before = connection.raw().stats().outMsgs;
  return () => connection.raw().stats().outMsgs - before;
}
