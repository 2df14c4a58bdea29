import { JetlaneError, Names } from '@jetlane/protocol';
import type { JetStreamManager } from '@nats-io/jetstream';
import { jetstreamManager } from '@nats-io/jetstream';
import { AuthorizationError, type Msg, type NatsConnection, PermissionViolationError } from '@nats-io/nats-core';
import { connect as natsConnect } from '@nats-io/transport-node';
import { BulkPublisher, type BulkStream } from './bulk-publisher.js';
import { type ConnectOptions, DEFAULT_PING_INTERVAL_MS, natsOptions, reconnectDelay, serverNames } from './connection-options.js';
import type { Delivery } from './delivery.js';
import { Denials, newInbox } from './denials.js';
import { Inbound } from './inbound.js';
import { LinkWatch } from './link-watch.js';
import { listenerThrew } from './listener-error.js';
import { Outbox, type Payload } from './outbox.js';
import type { PubAck, Publication } from './publication.js';
import { Publisher } from './publisher.js';
import { Puller, type PullerOptions } from './puller.js';
import { Requests } from './requests.js';
import { ServerClock } from './server-clock.js';
import { EncodedHeaders, headerBlock, statusCode } from './wire-message.js';

/** `connected` ⇄ `reconnecting` → `closed`. Only the connection changes it. */
export type ConnectionState = 'connected' | 'reconnecting' | 'closed';

/** A message of core NATS, as subscribers get it. */
export interface CoreMessage {
  readonly subject: string;
  readonly reply: string;
  readonly headers: string;
  readonly data: Uint8Array;
}

const EMPTY = new Uint8Array(0);
/** How long a new connection waits for the server's word on its inboxes; a link that stands still is found by its watch. */
const HEARING_MS = 2000;

/**
 * A link to NATS that reconnects for ever. It knows whether it is up, so that nothing is written into a dead link and
 * taken for sent, and it numbers its links: `epoch` rises at every reconnect.
 */
export class Connection {
  readonly names: Names;
  readonly publisher: Publisher;
  /** What time it is at the server. */
  readonly clock: ServerClock;
  /** Replicas of what this connection provisions. */
  readonly replicas: number;
  /** Count of links so far, from 1. */
  epoch = 1;
  /** `performance.now()` when the current link came up, or 0 for the first: nothing was lost before it. */
  reconnectedAt = 0;
  /** What the server refuses for want of a permission; for Jetlane's libraries only. */
  readonly denials = new Denials();
  private current: ConnectionState = 'connected';
  private readonly listeners = new Set<(state: ConnectionState) => void>();
  private readonly requests: Requests;
  private readonly inbound: Inbound;
  private readonly outbox: Outbox;
  private readonly bulk: BulkPublisher;
  private readonly watch: LinkWatch;
  private readonly managers = new Map<number, Promise<JetStreamManager>>();

  constructor(
    private readonly nats: NatsConnection,
    names: Names,
    options: ConnectOptions,
  ) {
    this.names = names;
    this.replicas = options.replicas ?? 1;
    const window = options.publishWindow ?? 4096;
    this.inbound = new Inbound(nats);
    this.outbox = new Outbox(nats);
    this.publisher = new Publisher(
      this.inbound,
      this.outbox,
      { window, timeoutMs: options.publishTimeoutMs ?? 10_000, maxWaiting: 16 * window, sharedLimits: names.topology === 'compact' },
      true,
    );
    this.bulk = new BulkPublisher(this.inbound, this.outbox, this.publisher);
    this.requests = new Requests(nats);
    for (const one of [this.publisher, this.bulk, this.requests]) this.denials.on((denial) => one.denied(denial));
    this.clock = new ServerClock(this);
    this.watch = new LinkWatch(nats, options.pingIntervalMs ?? DEFAULT_PING_INTERVAL_MS);
    void this.follow();
    void nats.closed().then(() => this.release());
  }

  get state(): ConnectionState {
    return this.current;
  }

  /** Number of reconnects so far. */
  get reconnects(): number {
    return this.epoch - 1;
  }

  /** Address of the server at the other end. */
  get server(): string {
    return this.nats.getServer();
  }

  /** Version of that server, as in `2.15.1`. */
  get serverVersion(): string {
    return this.nats.info?.version ?? 'unknown';
  }

  /** Calls back at every change of state; returns the way to stop that. */
  onState(listener: (state: ConnectionState) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Resolves at once or at the next reconnect. @throws JetlaneError `connection-closed` */
  whenConnected(): Promise<void> {
    if (this.current === 'connected') return Promise.resolve();
    if (this.current === 'closed') return Promise.reject(new JetlaneError('connection-closed', 'the connection is closed'));
    return new Promise((resolve, reject) => {
      const stop = this.onState((state) => {
        stop();
        if (state === 'connected') resolve();
        else reject(new JetlaneError('connection-closed', 'the connection was closed'));
      });
    });
  }

  /** Stores a message; see {@link Publisher.publish}. @param stillWanted see {@link Publication.stillWanted} */
  publish(subject: string, data: Payload, headers?: Payload, stillWanted?: () => boolean): Promise<PubAck> {
    return this.publisher.publish(subject, data, headers, stillWanted);
  }

  /** Stores a message; see {@link Publisher.post}. */
  post(publication: Publication): void {
    this.publisher.post(publication);
  }

  /** Sends without any confirmation (core NATS). Returns false, and sends nothing, while the link is down. */
  send(subject: string, data: Payload = EMPTY, headers?: Payload): boolean {
    if (this.current !== 'connected') return false;
    this.outbox.push(subject, '', data, headers);
    return true;
  }

  /** Settles a delivery for good. Returns false, and sends nothing, while the link is down. */
  ack(delivery: Delivery): boolean {
    return this.answer(delivery, '+ACK');
  }

  /** Hands a delivery back: the server gives it to somebody at once and counts one more delivery. */
  nak(delivery: Delivery): boolean {
    return this.answer(delivery, '-NAK');
  }

  /** Extends the lease of a delivery. */
  inProgress(delivery: Delivery): boolean {
    return this.answer(delivery, '+WPI');
  }

  /** Where many messages of one stream are stored together; see `BulkPublisher`. */
  bulkStream(stream: string): BulkStream {
    return this.bulk.stream(stream);
  }

  private answer(delivery: Delivery, word: string): boolean {
    if (this.current !== 'connected') return false;
    this.outbox.answer(delivery, word);
    return true;
  }

  /** Resolves when the server has taken in all that was sent before. */
  flush(): Promise<void> {
    this.bulk.flush();
    this.outbox.flush();
    return this.nats.flush();
  }

  /** Request/reply. @throws JetlaneError `no-responders`, `request-timeout`, `permission-denied`, `not-connected`, `connection-closed` */
  async request(subject: string, data: Uint8Array | string = EMPTY, timeoutMs = 2000, headers?: Uint8Array): Promise<CoreMessage> {
    if (this.current === 'closed') throw new JetlaneError('connection-closed', `cannot ask ${subject}: the connection is closed`);
    if (this.current !== 'connected')
      throw new JetlaneError('not-connected', `cannot ask ${subject}: the link to NATS is down; it is being rebuilt`);
    return coreMessage(await this.requests.request(subject, data, timeoutMs, headers && new EncodedHeaders(headers)));
  }

  /** Asks whoever listens; resolves after a time with all that was answered by then. Nobody need answer. */
  async gather(subject: string, data: Payload, ms: number): Promise<CoreMessage[]> {
    const answers: CoreMessage[] = [];
    const inbox = newInbox(this.nats);
    const stop = this.subscribe(inbox, (message) => {
      if (statusCode(message.headers) === 0) answers.push(message);
    });
    this.nats.publish(subject, data, { reply: inbox });
    await new Promise((resolve) => setTimeout(resolve, ms));
    stop();
    return answers;
  }

  /** Listens on core NATS; survives reconnects. Returns the way to stop. */
  subscribe(subject: string, listener: (message: CoreMessage) => void, queueGroup?: string): () => void {
    const callback = (error: Error | null, message: Msg) => {
      if (error) return;
      try {
        listener(coreMessage(message));
      } catch (thrown) {
        listenerThrew(`the listener on ${subject}`, thrown);
      }
    };
    const subscription = this.nats.subscribe(subject, queueGroup ? { callback, queue: queueGroup } : { callback });
    return () => subscription.unsubscribe();
  }

  /** A puller of one consumer over this link. */
  puller(options: PullerOptions): Puller {
    return new Puller(this.nats, this.inbound, options, this.denials);
  }

  /** The client's own stream administration; for this library only. @param timeout of each request, ms */
  admin(timeout = 10_000): Promise<JetStreamManager> {
    const manager = this.managers.get(timeout) ?? jetstreamManager(this.nats, { checkAPI: false, timeout });
    this.managers.set(timeout, manager);
    return manager;
  }

  /** The client's connection; for this library only. */
  raw(): NatsConnection {
    return this.nats;
  }

  /** Sends what is buffered and closes. Outstanding publishes get three seconds to be confirmed. */
  async close(): Promise<void> {
    if (this.current === 'closed') return;
    if (this.current === 'connected') {
      const deadline = performance.now() + 3000;
      while (this.bulk.pending + this.publisher.pending + this.publisher.queued > 0 && performance.now() < deadline)
        await new Promise((r) => setTimeout(r, 5));
    }
    this.outbox.flush();
    this.release();
    if (this.nats.isClosed()) return;
    const drained = this.nats.isDraining() ? this.nats.closed() : this.nats.drain();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, 1000);
    });
    await Promise.race([drained, late]).catch(() => undefined);
    clearTimeout(timer);
    await this.nats.close();
  }

  /** The link is gone for good: who still waits for an answer is told. */
  private release(): void {
    this.enter('closed');
    this.bulk.close();
    this.watch.stop();
    this.publisher.close();
    this.requests.close();
  }

  private async follow(): Promise<void> {
    for await (const status of this.nats.status()) {
      if (status.type === 'disconnect') this.enter('reconnecting');
      else if (status.type === 'reconnect') this.relink();
      else if (status.type === 'error' && status.error instanceof PermissionViolationError) this.denials.tell(status.error);
    }
  }

  private relink(): void {
    if (this.current === 'closed') return;
    this.epoch++;
    this.reconnectedAt = performance.now();
    this.enter('connected');
  }

  private enter(state: ConnectionState): void {
    if (this.current === state || this.current === 'closed') return;
    this.current = state;
    this.outbox.clear();
    if (state === 'connected') this.publisher.linkUp();
    else {
      this.publisher.linkDown();
      this.bulk.linkDown();
    }
    for (const listener of [...this.listeners]) {
      try {
        listener(state);
      } catch (thrown) {
        listenerThrew('a listener for the state of the connection', thrown);
      }
    }
  }
}

function coreMessage(message: Msg): CoreMessage {
  return { subject: message.subject, reply: message.reply ?? '', headers: headerBlock(message), data: message.data };
}

/**
 * Connects to NATS.
 * @throws JetlaneError `invalid-argument`, `invalid-configuration` for options that cannot work; `unauthorized` when the server
 * refuses the credentials; `permission-denied` when the user may not listen on its own inbox; `not-connected` when `waitOnFirstConnect` is false and no server answers
 */
export async function connect(options: ConnectOptions = {}): Promise<Connection> {
  const names = new Names(options.namespace, options.topology);
  const client = natsOptions(options);
  const delay = reconnectDelay();
  for (;;) {
    try {
      return await hearing(new Connection(await natsConnect(client), names, options));
    } catch (cause) {
      const error = connectError(options, cause);
      if (error.code === 'unauthorized' || error.code === 'permission-denied' || options.waitOnFirstConnect === false) throw error;
      options.onWaiting?.(error);
      await new Promise((resolve) => setTimeout(resolve, delay()));
    }
  }
}

/** A user that may not listen on its own inbox gets no answer to anything: better no connection at all. */
async function hearing(connection: Connection): Promise<Connection> {
  let deaf: JetlaneError | undefined;
  const forget = connection.denials.on(({ operation, subject, error }) => {
    if (operation !== 'subscription') return false;
    deaf = new JetlaneError(
      'permission-denied',
      `NATS does not let this user listen on its own inbox "${subject}"; set inboxPrefix (NATS_INBOX_PREFIX) to one that it may`,
      { cause: error, details: { operation, subject } },
    );
    return true;
  });
  await Promise.race([connection.flush().catch(() => undefined), new Promise((resolve) => setTimeout(resolve, HEARING_MS).unref())]);
  // The client tells of it by an iterator, a few turns of the queue of microtasks later.
  await new Promise((resolve) => setImmediate(resolve));
  forget();
  if (!deaf) return connection;
  await connection.close();
  throw deaf;
}

function connectError(options: ConnectOptions, cause: unknown): JetlaneError {
  if (cause instanceof JetlaneError) return cause;
  const where = serverNames(options).join(',');
  const why = cause instanceof Error ? cause.message : String(cause);
  if (cause instanceof AuthorizationError)
    return new JetlaneError(
      'unauthorized',
      `NATS at ${where} refuses the credentials: ${why}; check user, token, NKey or credentials file`,
      {
        cause,
      },
    );
  return new JetlaneError('not-connected', `cannot connect to NATS at ${where}: ${why}; is a server running there?`, { cause });
}
