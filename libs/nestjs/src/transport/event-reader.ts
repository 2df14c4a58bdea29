import { randomBytes } from 'node:crypto';
import { type Connection, type Delivery, PullLoop } from '@jetlane/jetstream';
import { type CompiledRetryPolicy, compileRetryPolicy, decodeHeaders, FatalError, HEADER, headerValue, traceOf } from '@jetlane/protocol';
import { type ActiveCall, type HandledEvent, startEvent } from '@jetlane/telemetry';
import { classifyError, type Outcome } from '@jetlane/worker';
import { nestLog } from '../module/nest-log.js';
import type { MessageFacts } from './context.js';
import { storeDeadEvent } from './dead-event.js';
import { readData } from './message.js';
import type { ReaderOptions } from './options.js';
import { readerName } from './patterns.js';
import { ensureReader, removeReader } from './provision.js';

/** Calls the handlers of an event. */
export type HandleEvent = (data: unknown, facts: MessageFacts) => Promise<unknown>;

/** Five attempts within about half a minute. */
const DEFAULT_RETRY = { attempts: 5, initialDelay: '1s', maxDelay: '1m' } as const;
const DEFAULT_CONCURRENCY = 50;
/** Deliveries beyond the attempts, for those that ended with their process or at a shutdown; then the event itself is suspected. */
const SPARE_DELIVERIES = 5;

/**
 * Reads the events of one pattern for a service, by a durable consumer of the server: hands them to the handler, retries by delayed
 * redelivery, and keeps what is given up as a dead event.
 * States: made → reading (`start`) → stopped (`stop`).
 */
export class EventReader {
  /** Name of the consumer, and of the dead events and redrives of this pattern. */
  readonly name: string;
  private readonly policy: CompiledRetryPolicy;
  private readonly loop: PullLoop;
  private readonly broadcast: boolean;
  private lastSequence = 0;

  constructor(
    private readonly connection: Connection,
    service: string,
    private readonly pattern: string,
    private readonly options: ReaderOptions,
    private readonly handle: HandleEvent,
  ) {
    this.broadcast = options.broadcast ?? false;
    this.name = readerName(service, pattern) + (this.broadcast ? `-${randomBytes(6).toString('hex')}` : '');
    this.policy = compileRetryPolicy(options.retry ?? DEFAULT_RETRY);
    this.loop = new PullLoop(connection, {
      stream: connection.names.events,
      consumer: this.name,
      slots: options.concurrency ?? DEFAULT_CONCURRENCY,
      handle: (delivery) => this.deal(delivery),
      onError: (error) => nestLog.warn({ reader: this.name, error: String(error) }, 'event:left-to-its-lease'),
      repair: () => this.provision(),
    });
  }

  /** Makes the consumer if need be, and begins to read. */
  async start(): Promise<void> {
    await this.provision();
    this.loop.start();
  }

  /** Takes no more events and waits for the handlers; what is left after the grace comes again, to this service or another of its processes. */
  async stop(graceMs: number): Promise<void> {
    await this.loop.stop(graceMs);
    if (this.broadcast) await removeReader(this.connection, this.name);
  }

  /** Whether events are being read. */
  health(): ReturnType<PullLoop['health']> {
    return this.loop.health();
  }

  /** A broadcast reader that the server has forgotten goes on behind what it has seen. */
  private provision(): Promise<void> {
    const from = this.broadcast && this.lastSequence > 0 ? this.lastSequence + 1 : (this.options.from ?? 'new');
    return ensureReader(this.connection, { name: this.name, pattern: this.pattern, broadcast: this.broadcast, from });
  }

  private async deal(delivery: Delivery): Promise<void> {
    this.lastSequence = Math.max(this.lastSequence, delivery.streamSequence);
    const facts = this.factsOf(delivery);
    const span = startEvent(() => this.describe(facts), traceOf(facts.headers));
    const { outcome, error } = await this.run(delivery, facts, span);
    // The loop was stopped and has let go of it: it may be another's by now.
    if (!this.loop.holds(delivery)) return span.end(error, 'lost');
    try {
      await this.settle(delivery, outcome);
    } catch (unsettled) {
      span.end(unsettled, 'lost');
      throw unsettled;
    }
    span.end(error, outcome.kind);
  }

  private async run(delivery: Delivery, facts: MessageFacts, span: ActiveCall): Promise<{ outcome: Outcome; error?: unknown }> {
    try {
      if (delivery.count > this.policy.attempts + SPARE_DELIVERIES) throw poison(delivery);
      const data = readData(facts.headers, delivery.data);
      return { outcome: { kind: 'completed', result: await span.run(() => this.handle(data, facts)) } };
    } catch (error) {
      const outcome = classifyError(error, { attempt: delivery.count, policy: this.policy, retryHeader: undefined, aborted: undefined });
      return { outcome, error };
    }
  }

  private factsOf(delivery: Delivery): MessageFacts {
    const { headers, count, streamSequence, storedAt } = delivery;
    const pairs = headers ? decodeHeaders(headers) : [];
    return { subject: this.subjectOf(delivery), headers: pairs, attempt: count, sequence: streamSequence, storedAt };
  }

  private async settle(delivery: Delivery, outcome: Outcome): Promise<void> {
    if (outcome.kind === 'retry') {
      this.connection.send(delivery.reply, `-NAK {"delay":${Math.max(1, Math.round(outcome.delayMs))}000000}`);
      return;
    }
    if (outcome.kind === 'dead') await this.bury(delivery, outcome);
    // A crash before the dead event is stored repeats the last run; one between it and the ack stores the same dead event again, on the same
    // subject and so only once; one after it leaves nothing to do. Test: nestjs-transport.spec.ts "keeps what is given up".
    this.connection.ack(delivery);
  }

  private async bury(delivery: Delivery, outcome: Extract<Outcome, { kind: 'dead' }>): Promise<void> {
    const subject = this.subjectOf(delivery);
    await storeDeadEvent(this.connection, { reader: this.name, subject, delivery, outcome });
    const { reason, error } = outcome;
    nestLog.error({ reader: this.name, event: subject, reason, error: error.message }, 'event:dead');
  }

  private describe({ subject, headers, attempt }: MessageFacts): HandledEvent {
    return { pattern: this.pattern, subject, id: headerValue(headers, HEADER.msgId), reader: this.name, attempt };
  }

  /** The event's own subject, whether it came first-hand or was redriven. */
  private subjectOf({ subject }: Delivery): string {
    const { names } = this.connection;
    const redriven = names.redrivenEvent(this.name, '');
    return subject.startsWith(redriven) ? subject.slice(redriven.length) : subject.slice(names.event('').length);
  }
}

function poison({ count, streamSequence }: Delivery): FatalError {
  const message = `event ${streamSequence} was delivered ${count} times and never settled; look at what it does before it is redriven`;
  return new FatalError(message, { code: 'poison' });
}
