import { type Connection, type ConnectOptions, connect } from '@jetlane/jetstream';
import { type NatsServer, type NatsServerOptions, startNatsServer } from '@jetlane/testing';

/** A nats-server of its own and the connections that a test file opens to it; `stop` closes them all. */
export class Broker {
  private readonly connections: Connection[] = [];

  private constructor(
    readonly server: NatsServer,
    private readonly namespace: string,
  ) {}

  /** @param namespace of every connection */
  static async start(namespace: string, options: NatsServerOptions = {}): Promise<Broker> {
    return new Broker(await startNatsServer(options), namespace);
  }

  async connect(options: ConnectOptions = {}): Promise<Connection> {
    const connection = await connect({ servers: this.server.url, namespace: this.namespace, ...options });
    this.connections.push(connection);
    return connection;
  }

  /** Kills the server as `kill -9` does and starts it again on its data. */
  async crash(): Promise<void> {
    this.server.kill('SIGKILL');
    await this.server.exited;
    await this.server.start();
  }

  async stop(): Promise<void> {
    await Promise.all(this.connections.map((connection) => connection.close()));
    await this.server.stop();
  }
}

/** A stream made by hand. */
export async function makeStream(connection: Connection, name: string, subjects: string[], config: object = {}): Promise<void> {
  const { streams } = await connection.admin();
  await streams.add({ name, subjects, storage: 'file', allow_direct: true, ...config });
}

/** How often each subject of a stream is stored. */
export async function storedSubjects(connection: Connection, stream: string): Promise<Record<string, number>> {
  const { streams } = await connection.admin();
  return (await streams.info(stream, { subjects_filter: '>' })).state.subjects ?? {};
}

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
