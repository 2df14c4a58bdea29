import { type Connection, type CoreMessage, isReplySubject } from '@jetlane/jetstream';
import { decodeHeaders, JetlaneError, toMs, traceOf } from '@jetlane/protocol';
import { startAnswer } from '@jetlane/telemetry';
import { type CustomTransportStrategy, type MessageHandler, Server } from '@nestjs/microservices';
import { finalError } from '../handlers/final-error.js';
import { checkLink } from '../module/check-jetlane-options.js';
import { checkReaderOptions, checkServerOptions } from '../module/check-options.js';
import { nestLog } from '../module/nest-log.js';
import { errorText, resultText } from './answer.js';
import { JetStreamContext, type MessageFacts } from './context.js';
import { EventReader } from './event-reader.js';
import { Link } from './link.js';
import { readRequest } from './message.js';
import type { JetStreamServerOptions, ReaderOptions, TransportLink } from './options.js';
import { methodOf, subjectOf } from './patterns.js';
import { ensureEventStreams } from './provision.js';
import { runUnmasked } from './unmasked.js';

const SERVICE = /^[A-Za-z0-9_-]{1,64}$/;
const DEFAULT_REQUESTS = 512;
/** Longest part of a stranger's subject in the log. */
const LONGEST_SHOWN = 256;

const OPTIONS = {
  service: true,
  commands: true,
  requestConcurrency: true,
  shutdownTimeout: true,
  keepEvents: true,
  keepEventBytes: true,
  concurrency: true,
  retry: true,
  from: true,
  broadcast: true,
} as const satisfies Record<Exclude<keyof JetStreamServerOptions, keyof TransportLink>, true>;

/** Identifies this transport, as in `@EventPattern('x', JETSTREAM)` of a hybrid application with several. */
export const JETSTREAM = Symbol('jetlane:jetstream');

type Handler = MessageHandler<unknown, JetStreamContext, unknown>;

/** What a request asks for. */
interface Asked {
  readonly handler: Handler;
  readonly method: string;
  readonly subject: string;
}

/**
 * Transport strategy over JetStream: `createMicroservice(AppModule, { strategy: new JetStreamServer({ service: 'billing' }) })`.
 * `@EventPattern` handlers read a durable stream, with retries and dead events, each pattern by itself; `@MessagePattern` handlers answer
 * requests, one process of the service each.
 */
export class JetStreamServer extends Server implements CustomTransportStrategy {
  override readonly transportId = JETSTREAM;
  /** What an event handler throws comes here, and decides on the retry. */
  override readonly propagatesEventHandlerErrors = true;
  private readonly link: Link;
  private connection: Connection | undefined;
  private readonly graceMs: number;
  private readonly most: number;
  private starting: Promise<void> | undefined;
  /** The last start or stop that is under way: they follow each other, and never overlap. */
  private turn: Promise<void> | undefined;
  private readers: EventReader[] = [];
  private unsubscribers: (() => void)[] = [];
  private readonly answering = new Set<Promise<void>>();

  /** @throws JetlaneError `invalid-configuration` for a name or a number that cannot be one, `invalid-argument` for a time that cannot be read */
  constructor(private readonly options: JetStreamServerOptions) {
    super();
    if (!SERVICE.test(options.service)) {
      throw new JetlaneError(
        'invalid-configuration',
        `expected service to be letters, digits, _ and -, at most 64; got ${JSON.stringify(options.service)}`,
        { details: { field: 'service' } },
      );
    }
    checkLink(options, OPTIONS, 'JetStreamServer');
    checkServerOptions(options, `service "${options.service}"`);
    this.most = options.requestConcurrency ?? DEFAULT_REQUESTS;
    this.graceMs = toMs(options.shutdownTimeout ?? '10s', 'shutdownTimeout');
    this.link = new Link(options);
  }

  /** Called by Nest when the application is initialised. A server that listens already goes on; one that closes starts anew when it has. */
  listen(callback: (error?: unknown) => void): void {
    this.starting ??= this.begin();
    this.starting.then(() => callback(), callback);
  }

  /** A start that fails is forgotten, so that the next one tries again. */
  private begin(): Promise<void> {
    const starting = this.inTurn(() => this.start());
    starting.catch(() => {
      if (this.starting === starting) this.starting = undefined;
    });
    return starting;
  }

  /** Called by Nest. Takes no more, waits for what runs until the deadline, and closes the connection if it opened it. May be called twice. */
  close(): Promise<void> {
    this.starting = undefined;
    this.unsubscribe();
    // Whatever a start that is still under way brings up is taken down too.
    return this.inTurn(() => this.stop());
  }

  /** Events of a transport are told by `status`. */
  on(): never {
    throw new JetlaneError('invalid-argument', 'JetStreamServer has no events of its own; use unwrap().onState(…)');
  }

  /** The {@link Connection}. */
  unwrap<T = Connection>(): T {
    return this.connection as T;
  }

  /** Readers by pattern, for health checks. */
  health(): { readonly reader: string; readonly up: boolean; readonly refused?: string }[] {
    return this.readers.map((reader) => ({ reader: reader.name, ...reader.health() }));
  }

  /** Runs a step behind the one before; at once when there is none. */
  private inTurn(step: () => Promise<void>): Promise<void> {
    const run = this.turn ? this.turn.then(step) : step();
    const turn = run
      .catch(() => undefined)
      .then(() => {
        if (this.turn === turn) this.turn = undefined;
      });
    this.turn = turn;
    return run;
  }

  private async start(): Promise<void> {
    try {
      await this.bringUp();
    } catch (error) {
      await this.stop().catch(() => undefined);
      throw error;
    }
  }

  /** With a given connection and no events it listens before it returns. */
  private async bringUp(): Promise<void> {
    const connection = this.options.connection ?? (await this.link.open());
    this.connection = connection;
    const handlers = [...(this.messageHandlers as Map<string, Handler>)];
    for (const [pattern, handler] of handlers) if (!handler.isEventHandler) this.serve(connection, pattern, handler);
    const events = handlers.filter(([, { isEventHandler }]) => isEventHandler);
    if (events.length > 0) await ensureEventStreams(connection, this.options);
    this.readers = events.map(([pattern, handler]) => this.readerOf(connection, pattern, handler));
    // All are waited for: one that comes up behind the failure of another could not be stopped.
    const started = await Promise.allSettled(this.readers.map((reader) => reader.start()));
    for (const one of started) if (one.status === 'rejected') throw one.reason;
    if (connection.state === 'connected') await connection.flush();
    this._status$.next('connected' as never);
  }

  private async stop(): Promise<void> {
    this.unsubscribe();
    const answers = Promise.all(this.answering);
    await Promise.all([...this.readers.splice(0).map((reader) => reader.stop(this.graceMs)), within(this.graceMs, answers)]);
    if (this.connection?.state === 'connected') await this.connection.flush();
    this.connection = undefined;
    await this.link.close();
  }

  private unsubscribe(): void {
    for (const unsubscribe of this.unsubscribers.splice(0)) unsubscribe();
  }

  private readerOf(connection: Connection, pattern: string, handler: Handler): EventReader {
    const options: ReaderOptions = { ...this.options, ...(handler.extras as ReaderOptions | undefined) };
    checkReaderOptions(options, `@EventPattern("${pattern}") of service "${this.options.service}"`);
    const subject = subjectOf(pattern, 'allowed');
    return new EventReader(connection, this.options.service, subject, options, (data, facts) => this.call(handler, data, facts));
  }

  private serve(connection: Connection, pattern: string, handler: Handler): void {
    const base = this.requestSubject(connection, '');
    const method = methodOf(pattern, this.options.commands ? this.options.service : undefined);
    const take = (message: CoreMessage) => {
      if (!message.reply || !this.mayAnswer(connection, message)) return;
      if (this.answering.size >= this.most) return this.reply(connection, message.reply, this.overloaded());
      const answer = this.answer(connection, message, { handler, method, subject: message.subject.slice(base.length) }).finally(() =>
        this.answering.delete(answer),
      );
      this.answering.add(answer);
    };
    this.unsubscribers.push(connection.subscribe(base + subjectOf(pattern, 'allowed'), take, this.options.service));
  }

  private overloaded(): string {
    const why = `service "${this.options.service}" answers ${this.most} requests already (requestConcurrency); try again later`;
    return errorText(new JetlaneError('service-unavailable', why));
  }

  /** What asks for its answer elsewhere is not run at all: whoever sent it wants this service's rights. */
  private mayAnswer(connection: Connection, { subject, reply }: CoreMessage): boolean {
    if (isReplySubject(connection, reply)) return true;
    nestLog.warn({ service: this.options.service, request: subject, reply: reply.slice(0, LONGEST_SHOWN) }, 'reply:refused');
    return false;
  }

  private requestSubject({ names }: Connection, pattern: string): string {
    return this.options.commands ? names.service(this.options.service, pattern) : names.rpc(pattern);
  }

  private async answer(connection: Connection, message: CoreMessage, { handler, method, subject }: Asked): Promise<void> {
    const headers = message.headers ? decodeHeaders(message.headers) : [];
    // The platform's own commands, which services ask each other all the time, are steps of a trace and never begin one.
    const span = startAnswer(method, traceOf(headers), !this.options.commands);
    let text: string;
    try {
      const data = readRequest(headers, message.data);
      const facts = { subject, headers, attempt: 1, sequence: undefined, storedAt: undefined };
      text = resultText(await span.run(() => this.call(handler, data, facts)));
      span.end();
    } catch (error) {
      text = errorText(error);
      span.end(error);
    }
    this.reply(connection, message.reply, text);
  }

  /** Never throws: nobody waits for an answer on this side. */
  private reply(connection: Connection, reply: string, text: string): void {
    try {
      connection.send(reply, text);
    } catch (error) {
      // Larger than the server takes: the caller must hear something.
      const why = `the answer of ${Buffer.byteLength(text)} bytes cannot be sent: ${(error as Error).message}; ask for less`;
      try {
        connection.send(reply, errorText(new JetlaneError('payload-too-large', why)));
      } catch (again) {
        nestLog.warn({ service: this.options.service, error: String(again) }, 'reply:failed');
      }
    }
  }

  /** Through Nest's pipeline, between the hooks of instrumentation. */
  private async call(handler: Handler, data: unknown, facts: MessageFacts): Promise<unknown> {
    const context = new JetStreamContext(facts);
    let result: unknown;
    const run = async () => {
      try {
        result = await runUnmasked(async () => handler(data, context));
      } catch (error) {
        throw finalError(error);
      }
    };
    await new Promise<void>((resolve, reject) => {
      this.onProcessingStartHook(this.transportId, context, () => run().then(resolve, reject));
    }).finally(() => this.onProcessingEndHook?.(this.transportId, context));
    return result;
  }
}

async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms).unref();
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}
