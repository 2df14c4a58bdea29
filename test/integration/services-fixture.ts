import {
  type Connection,
  type ConnectOptions,
  connect,
  type Delivery,
  leaderGet,
  listLanes,
  provisionBase,
  provisionQueue,
  type StoredMessage,
  TaskStore,
} from '@jetlane/jetstream';
import { LANES, type Lane, type QueueDefinition, type Topology } from '@jetlane/protocol';
import { type NatsServer, type NatsServerOptions, startNatsServer, waitUntil } from '@jetlane/testing';
import { expect } from 'vitest';

/** A log that keeps what it is told. */
export function keepingLog() {
  const lines: { level: string; event: string; facts: object }[] = [];
  const write = (level: string) => (facts: object, event: string) => void lines.push({ level, event, facts });
  return { lines, info: write('info'), warn: write('warn'), error: write('error') };
}

/** Waits for a condition and fails by name when it does not come. */
export async function eventually(what: string, condition: () => boolean | Promise<boolean>, timeoutMs = 20_000): Promise<void> {
  expect(await waitUntil(condition, { timeoutMs, everyMs: 20 }), what).toBe(true);
}

/** A server of its own with one installation on it, and hands to do what other parts of the platform do. */
export class Installation {
  readonly store: TaskStore;
  private readonly connections: Connection[] = [];

  private constructor(
    readonly server: NatsServer,
    readonly connection: Connection,
    private readonly own: Pick<ConnectOptions, 'namespace' | 'topology'>,
  ) {
    this.store = new TaskStore(connection);
    this.connections.push(connection);
  }

  static async open(namespace: string, options: NatsServerOptions = {}, topology: Topology = 'lanes'): Promise<Installation> {
    const server = await startNatsServer(options);
    const own = { namespace, topology };
    const installation = new Installation(server, await connect({ servers: server.url, ...own }), own);
    await provisionBase(installation.connection);
    return installation;
  }

  /** Another link to the same installation, as another process would have. @param url of what stands before the server */
  async link(url = this.server.url, options: ConnectOptions = {}): Promise<Connection> {
    const link = await connect({ servers: url, ...this.own, ...options });
    this.connections.push(link);
    return link;
  }

  async close(): Promise<void> {
    await Promise.all(this.connections.map((connection) => connection.close()));
    await this.server.stop();
  }

  queue(definition: QueueDefinition): Promise<void> {
    return provisionQueue(this.connection, definition);
  }

  timer(
    queue: string,
    key: string,
    options: { lane?: Lane; at?: number; hop?: number; attempt?: number; body?: string; type?: string } = {},
  ): Promise<boolean> {
    const { lane = 'normal', at = Date.now(), hop = 1, attempt = 1, body = '{}', type = 'noop' } = options;
    return this.store.setTimer({
      queue,
      lane,
      key,
      at,
      hop,
      attempt,
      headers: [['Task-Type', type]],
      data: new TextEncoder().encode(body),
    });
  }

  async enqueue(queue: string, key: string, options: { lane?: Lane; hop?: number; body?: string; headers?: [string, string][] } = {}) {
    const { lane = 'normal', hop = 1, body = '{}', headers = [['Task-Type', 'noop']] } = options;
    const ack = await this.store.publishTask(queue, lane, key, { headers, data: new TextEncoder().encode(body), hop });
    return { ...ack, stream: this.connection.names.lane(queue, lane).stream };
  }

  inLane(queue: string, key: string, lane: Lane = 'normal'): Promise<StoredMessage | undefined> {
    return leaderGet(this.connection, this.connection.names.lane(queue, lane).stream, this.connection.names.task(queue, lane, key));
  }

  dead(queue: string, key: string): Promise<StoredMessage | undefined> {
    return leaderGet(this.connection, this.connection.names.deadLetters, this.connection.names.dead(queue, key));
  }

  /** Messages in all lanes of a queue. */
  async depth(queue: string): Promise<number> {
    const lanes = await listLanes(this.connection);
    return lanes.filter((lane) => lane.queue === queue).reduce((sum, lane) => sum + lane.depth, 0);
  }

  /** Messages in a stream. */
  async messages(stream: string): Promise<number> {
    return (await (await this.connection.admin()).streams.info(stream)).state.messages;
  }

  /** Works as a worker does that settles by an ack alone; `handle` may do otherwise. Returns the way to stop. */
  work(queue: string, handle: (delivery: Delivery, ack: () => void) => void = (_, ack) => ack()): () => void {
    const pullers = LANES.map((lane) => {
      const { stream, consumer } = this.connection.names.lane(queue, lane);
      const refill = () => {
        if (puller.open < 50) puller.pull(100, 'wait');
      };
      const puller = this.connection.puller({
        stream,
        consumer,
        onDelivery: (delivery) => {
          handle(delivery, () => void this.connection.ack(delivery));
          refill();
        },
        onEnd: refill,
      });
      puller.start(this.connection.epoch);
      refill();
      return puller;
    });
    return () => pullers.forEach((puller) => void puller.stop());
  }

  /** Keys and hops of all that is in a queue, taken out of it. */
  async takeAll(queue: string, count: number): Promise<string[]> {
    const taken: string[] = [];
    const stop = this.work(queue, (delivery, ack) => {
      taken.push(`${delivery.subject.split('.').at(-1)}#${/Task-Hop: (\d+)/.exec(delivery.headers)?.[1] ?? 1}`);
      ack();
    });
    await eventually(`${count} tasks taken from ${queue}`, () => taken.length >= count);
    stop();
    return taken;
  }
}
