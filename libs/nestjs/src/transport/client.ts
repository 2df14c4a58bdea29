import type { Connection, PubAck } from '@jetlane/jetstream';
import { bodyText } from '@jetlane/jetstream';
import { encodeHeaders, HEADER, JetlaneError, keySource, toMs, traceOf } from '@jetlane/protocol';
import { startEmit, startRequest } from '@jetlane/telemetry';
import { ClientProxy, type ReadPacket, type WritePacket } from '@nestjs/microservices';
import { checkLink } from '../module/check-jetlane-options.js';
import { readAnswer } from './answer.js';
import { Link } from './link.js';
import type { JetStreamClientOptions, TransportLink } from './options.js';
import { methodOf, subjectOf } from './patterns.js';
import { ensureEventStreams } from './provision.js';
import { readRecord } from './record.js';
import { during, withTrace } from './trace.js';

const OPTIONS = { commandsOf: true, timeout: true, keepEvents: true, keepEventBytes: true } as const satisfies Record<
  Exclude<keyof JetStreamClientOptions, keyof TransportLink>,
  true
>;

/**
 * Client of the transport over JetStream. `emit` completes when the event is stored, whether or not anybody reads it now; `send` asks one
 * process of whichever service handles the pattern, and errors with a {@link JetlaneError} that carries the handler's own code and message.
 */
export class JetStreamClient extends ClientProxy {
  private readonly link: Link;
  private readonly timeoutMs: number;
  private readonly nextId = keySource();
  private provisioned: Promise<void> | undefined;

  /** @throws JetlaneError `invalid-argument` for a timeout that cannot be read, `invalid-configuration` for an option that does not exist */
  constructor(private readonly options: JetStreamClientOptions = {}) {
    super();
    // ClientsModule takes options of any form: nobody else would see a slip.
    checkLink(options, OPTIONS, 'JetStreamClient');
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
    const { data: content, id = this.nextId(), headers } = readRecord(data);
    const subject = subjectOf(pattern, 'refused');
    const body = bodyOf(content);
    const trace = startEmit({ subject, id }, traceOf(headers));
    const encoded = encodeHeaders([[HEADER.msgId, id], ...withTrace(headers, trace)]);
    return during(trace, async () => {
      const connection = await this.connect();
      await this.provision(connection);
      return (await connection.publish(connection.names.event(subject), body, encoded)) as T;
    });
  }

  protected override publish({ pattern, data }: ReadPacket, callback: (packet: WritePacket) => void): () => void {
    this.ask(pattern, data).then(
      (response) => callback({ response, isDisposed: true }),
      (err: unknown) => callback({ err, isDisposed: true }),
    );
    return () => undefined;
  }

  private async ask(pattern: unknown, given: unknown): Promise<unknown> {
    const name = subjectOf(pattern as Parameters<typeof subjectOf>[0], 'refused');
    const { data, headers } = readRecord(given);
    const body = bodyOf(data);
    const { commandsOf } = this.options;
    const trace = startRequest(methodOf(name, commandsOf), traceOf(headers));
    const all = withTrace(headers, trace);
    const encoded = all.length > 0 ? encodeHeaders(all) : undefined;
    return during(trace, async () => {
      const connection = await this.connect();
      const { names } = connection;
      const subject = commandsOf === undefined ? names.rpc(name) : names.service(commandsOf, name);
      return readAnswer(bodyText(await connection.request(subject, body, this.timeoutMs, encoded)), name) ?? null;
    });
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
