import type { Connection, PubAck } from '@jetlane/jetstream';
import { bodyText } from '@jetlane/jetstream';
import { encodeHeaders, HEADER, type HeaderPair, JetlaneError, keySource, toMs } from '@jetlane/protocol';
import { ClientProxy, type ReadPacket, type WritePacket } from '@nestjs/microservices';
import { readAnswer } from './answer.js';
import { Link } from './link.js';
import type { JetStreamClientOptions } from './options.js';
import { subjectOf } from './patterns.js';
import { ensureEventStreams } from './provision.js';
import { readRecord } from './record.js';
import { traceHeaders } from './trace.js';

/**
 * Client of the transport over JetStream. `emit` completes when the event is stored, whether or not anybody reads it now; `send` asks one
 * process of whichever service handles the pattern, and errors with a {@link JetlaneError} that carries the handler's own code and message.
 */
export class JetStreamClient extends ClientProxy {
  private readonly link: Link;
  private readonly timeoutMs: number;
  private readonly nextId = keySource();
  private provisioned: Promise<void> | undefined;

  /** @throws JetlaneError `invalid-argument` for a timeout that cannot be read */
  constructor(private readonly options: JetStreamClientOptions = {}) {
    super();
    this.timeoutMs = toMs(options.timeout ?? '5s', 'timeout');
    this.link = new Link(options);
  }

  /** Connects. Called by the first `emit` or `send` too. */
  connect(): Promise<Connection> {
    return this.link.open();
  }

  /** Closes the connection if this opened it. */
  async close(): Promise<void> {
    this.provisioned = undefined;
    await this.link.close();
  }

  /** The {@link Connection}, as a promise. */
  unwrap<T = Promise<Connection>>(): T {
    return this.connect() as T;
  }

  protected override async dispatchEvent<T = PubAck>({ pattern, data }: ReadPacket): Promise<T> {
    const connection = await this.connect();
    await this.provision(connection);
    const record = readRecord(data);
    const subject = connection.names.event(subjectOf(pattern, 'refused'));
    const headers: HeaderPair[] = [[HEADER.msgId, record.id ?? this.nextId()], ...traceHeaders(), ...record.headers];
    return (await connection.publish(subject, bodyOf(record.data), encodeHeaders(headers))) as T;
  }

  protected override publish({ pattern, data }: ReadPacket, callback: (packet: WritePacket) => void): () => void {
    this.ask(pattern, data).then(
      (response) => callback({ response, isDisposed: true }),
      (err: unknown) => callback({ err, isDisposed: true }),
    );
    return () => undefined;
  }

  private async ask(pattern: unknown, given: unknown): Promise<unknown> {
    const connection = await this.connect();
    const name = subjectOf(pattern as Parameters<typeof subjectOf>[0], 'refused');
    const { data, headers } = readRecord(given);
    const all = [...traceHeaders(), ...headers];
    const encoded = all.length > 0 ? encodeHeaders(all) : undefined;
    const answer = await connection.request(this.subjectOf(connection, name), bodyOf(data), this.timeoutMs, encoded);
    return readAnswer(bodyText(answer), name) ?? null;
  }

  private subjectOf({ names }: Connection, name: string): string {
    const { commandsOf } = this.options;
    return commandsOf === undefined ? names.rpc(name) : names.service(commandsOf, name);
  }

  /** The stream must stand before the first event, whoever starts first. */
  private provision(connection: Connection): Promise<void> {
    this.provisioned ??= ensureEventStreams(connection, this.options).catch((error: unknown) => {
      this.provisioned = undefined;
      throw error;
    });
    return this.provisioned;
  }
}

/** JSON, or bytes as they are. */
function bodyOf(data: unknown): string | Uint8Array {
  if (data instanceof Uint8Array) return data;
  try {
    return JSON.stringify(data) ?? '';
  } catch (cause) {
    throw new JetlaneError('invalid-argument', `the data cannot be written as JSON: ${(cause as Error).message}`, { cause });
  }
}
