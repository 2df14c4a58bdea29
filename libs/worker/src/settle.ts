import { type Connection, leaderGet, Publication, type TaskStore } from '@jetlane/jetstream';
import {
  appendHistory,
  asciiJson,
  decodeHeaders,
  type ErrorRecord,
  encodeHeaders,
  fingerprint,
  HEADER,
  type HeaderPair,
  headerText,
  JetlaneError,
  QueueFullError,
  type TaskState,
  toErrorRecord,
  WrongSequenceError,
  withHeaders,
} from '@jetlane/protocol';
import type { Outcome } from './classify.js';
import type { HeldTask } from './held-task.js';
import { type LeaseKeeper, LeaseLostError } from './lease-keeper.js';
import type { CompiledOptions } from './options.js';
import { forgetCrash } from './redelivery.js';

/** Longest JSON of a result in a record, in bytes. */
export const RESULT_LIMIT = 256 * 1024;

/** Whom the settler tells. */
export interface SettledListener {
  /** The outcome that was written: a retry of a cancelled task is a cancellation, a late copy a duplicate. */
  settled(task: HeldTask, outcome: Outcome): void;
  /** Nothing was acknowledged: the server delivers the task again. */
  abandoned(task: HeldTask, error: unknown): void;
}

type Completed = Outcome & { readonly kind: 'completed' };

/**
 * Writes an outcome down. The rule: publish the consequence, wait for its PubAck, then ack. A crash between the two
 * repeats the delivery; the redelivery check finds the consequence and only acks.
 */
export class Settler {
  private readonly recordHeaders: string;
  /** End of every completed task's record. */
  private readonly workerSuffix: string;

  constructor(
    private readonly connection: Connection,
    private readonly store: TaskStore,
    private readonly leases: LeaseKeeper,
    private readonly options: CompiledOptions,
    private readonly listener: SettledListener,
  ) {
    this.recordHeaders = headerText([[HEADER.ttl, `${Math.ceil(options.keepRecordsMs / 1000)}s`]]);
    this.workerSuffix = `"worker":${JSON.stringify(options.name)}`;
  }

  /** Never throws: what comes of it is told to the listener. */
  settle(task: HeldTask, outcome: Outcome): void {
    if (outcome.kind === 'completed' && task.recordSequence < 0 && !this.leases.lost(task)) this.complete(task, outcome);
    else this.finish(task, this.write(task, outcome));
  }

  private finish(task: HeldTask, writing: Promise<Outcome>): void {
    writing.then(
      (written) => this.listener.settled(task, written),
      (error: unknown) => this.listener.abandoned(task, error),
    );
  }

  private async write(task: HeldTask, outcome: Outcome): Promise<Outcome> {
    switch (outcome.kind) {
      case 'completed':
        return this.completeSlowly(task, outcome);
      case 'retry':
        return this.retry(task, outcome);
      case 'dead':
        return this.bury(task, outcome);
      case 'cancelled':
        return this.cancel(task, outcome);
      case 'interrupted':
        return this.handBack(task, outcome);
      case 'duplicate':
        return this.acknowledge(task, outcome);
    }
  }

  // Crash before the record: the task runs again. Between record and ack: the redelivery finds the record and only acks.
  // After: done. Tests: worker-crash.spec "completed".
  private complete(task: HeldTask, outcome: Completed): void {
    if (this.options.keep !== 'all') return this.acknowledgeNow(task, outcome);
    const body = encodeCompleted(task, this.workerSuffix, outcome.result);
    if (body instanceof JetlaneError) return this.finish(task, this.buryResult(task, body));
    const subject = this.connection.names.state(task.queue, task.key);
    this.connection.post(new CompletedRecord(subject, body, this.recordHeaders, task, outcome, this));
  }

  /** The record of a completed task is stored. */
  recorded(task: HeldTask, outcome: Completed): void {
    this.acknowledgeNow(task, outcome);
  }

  /** The record of a completed task is not stored, or nobody knows: it is written again as long as the lease is ours. */
  notRecorded(task: HeldTask, outcome: Completed, error: Error): void {
    this.finish(task, this.completeAgain(task, outcome, error));
  }

  private acknowledgeNow(task: HeldTask, outcome: Completed): void {
    if (this.leases.lost(task) || !this.connection.ack(task.delivery)) this.finish(task, this.acknowledge(task, outcome));
    else this.listener.settled(task, outcome);
  }

  private async completeAgain(task: HeldTask, outcome: Completed, error: Error): Promise<Outcome> {
    this.assertPassing(task, error);
    return this.completeSlowly(task, outcome);
  }

  private async completeSlowly(task: HeldTask, outcome: Completed): Promise<Outcome> {
    if (this.options.keep !== 'all' && task.recordSequence < 0) return this.acknowledge(task, outcome);
    const body = encodeCompleted(task, this.workerSuffix, outcome.result);
    if (body instanceof JetlaneError) return this.buryResult(task, body);
    return this.acknowledge(task, (await this.writeRecord(task, body)) ? outcome : { kind: 'duplicate' });
  }

  private buryResult(task: HeldTask, error: JetlaneError): Promise<Outcome> {
    return this.bury(task, { kind: 'dead', reason: error.code, error: toErrorRecord(error) });
  }

  // Crash before the timer: the attempt is repeated. Between timer and ack: the redelivery finds the timer (or what
  // became of it, of a higher hop) and only acks. Test: worker-crash.spec "retry".
  private async retry(task: HeldTask, outcome: Outcome & { kind: 'retry' }): Promise<Outcome> {
    const { record } = await this.stored(task, () => this.store.record(task.queue, task.key, leaderGet));
    if (record?.state === 'cancelled' && record.hop >= task.headers.hop)
      return this.acknowledge(task, { kind: 'cancelled', reason: record.reason ?? 'cancelled' });
    const { hop, attempt } = task.headers;
    const timer = {
      queue: task.queue,
      lane: task.lane,
      key: task.key,
      at: Date.now() + outcome.delayMs,
      hop: hop + 1,
      attempt: outcome.counted ? attempt + 1 : attempt,
      headers: withHeaders(headersOf(task), outcome.counted ? { [HEADER.errors]: this.history(task, outcome.error) } : {}),
      data: task.delivery.data,
    };
    try {
      await this.stored(task, () => this.store.setTimer(timer));
    } catch (error) {
      if (!isTooLarge(error)) throw error;
      return this.bury(task, { kind: 'dead', reason: 'payload-too-large', error: outcome.error });
    }
    return this.acknowledge(task, outcome);
  }

  // Dead letter first, since it holds the payload; then the record that watchers wait for; then the ack. Crash after the
  // dead letter: the redelivery finds it and only acks; the lookup reads the dead letter. Test: worker-crash.spec "dead".
  private async bury(task: HeldTask, outcome: Outcome & { kind: 'dead' }): Promise<Outcome> {
    await this.publishDead(task, outcome);
    const record = recordOf(task, 'dead', this.options.name, undefined, outcome.reason, outcome.error);
    const written = await this.writeRecord(task, JSON.stringify(record));
    return this.acknowledge(task, written ? outcome : { kind: 'duplicate' });
  }

  private async publishDead(task: HeldTask, outcome: Outcome & { kind: 'dead' }): Promise<void> {
    const extra = {
      [HEADER.deadReason]: outcome.reason,
      [HEADER.deadError]: asciiJson(outcome.error),
      [HEADER.deadAt]: Date.now(),
      [HEADER.deadSource]: `${this.connection.names.lane(task.queue, task.lane).stream}:${task.delivery.streamSequence}`,
      [HEADER.fingerprint]: fingerprint(task.type, outcome.error),
      [HEADER.errors]: this.history(task, outcome.error),
    };
    const letter = { headers: headersOf(task), data: task.delivery.data, hop: task.headers.hop, extra };
    await this.stored(task, () => this.store.publishDead(task.queue, task.key, letter));
  }

  // As for completed. Test: worker-failures.spec "cancelled".
  private async cancel(task: HeldTask, outcome: Outcome & { kind: 'cancelled' }): Promise<Outcome> {
    const record = recordOf(task, 'cancelled', this.options.name, undefined, outcome.reason);
    const written = await this.writeRecord(task, JSON.stringify(record));
    return this.acknowledge(task, written ? outcome : { kind: 'duplicate' });
  }

  // The server gives it to another at once. On one of the last two deliveries a NAK could exhaust the server's count, so
  // the task goes back as a new publication (hop + 1): crash before it, the lease expires; between it and the ack, the
  // redelivery finds the higher hop. Test: worker-drain.spec.
  async handBack(task: HeldTask, outcome: Outcome): Promise<Outcome> {
    if (this.leases.lost(task)) throw new LeaseLostError(task.id);
    await forgetCrash(task, this.store, this.options).catch(() => undefined);
    if (task.delivery.count < this.options.maxDeliveries - 1) return this.giveBack(task, outcome);
    await this.republish(task);
    return this.acknowledge(task, outcome);
  }

  /** Waits for the link, as the ack does: a NAK into a dead link would leave the task to its lease. */
  private async giveBack(task: HeldTask, outcome: Outcome): Promise<Outcome> {
    while (!this.connection.nak(task.delivery)) {
      await this.connection.whenConnected();
      if (this.leases.lost(task)) throw new LeaseLostError(task.id);
    }
    return outcome;
  }

  /** Behind a full lane the task goes round by a timer: the stream of timers has no limit. */
  private async republish(task: HeldTask): Promise<void> {
    const { queue, lane, key, delivery } = task;
    const copy = { headers: headersOf(task), data: delivery.data, hop: task.headers.hop + 1 };
    const publish = () =>
      this.store.publishTask(queue, lane, key, copy).catch((error: unknown) => {
        if (!(error instanceof QueueFullError)) throw error;
        return this.store.setTimer({ ...copy, queue, lane, key, at: Date.now(), attempt: task.headers.attempt });
      });
    await this.stored(task, publish);
  }

  /** The ack waits for the link, as long as the lease is ours: one sent into a dead link would be lost without a word. */
  async acknowledge(task: HeldTask, outcome: Outcome): Promise<Outcome> {
    for (;;) {
      if (this.leases.lost(task)) throw new LeaseLostError(task.id);
      if (this.connection.ack(task.delivery)) return outcome;
      await this.connection.whenConnected();
    }
  }

  /** @returns false when somebody else settled this hop meanwhile */
  private writeRecord(task: HeldTask, body: string): Promise<boolean> {
    const subject = this.connection.names.state(task.queue, task.key);
    return task.recordSequence < 0 ? this.writePlain(task, subject, body) : this.compareAndSet(task, subject, body);
  }

  private async writePlain(task: HeldTask, subject: string, body: string): Promise<boolean> {
    await this.stored(task, () => this.connection.publish(subject, body, this.recordHeaders));
    return true;
  }

  private async compareAndSet(task: HeldTask, subject: string, body: string): Promise<boolean> {
    const ttl: HeaderPair = [HEADER.ttl, `${Math.ceil(this.options.keepRecordsMs / 1000)}s`];
    for (;;) {
      const headers = encodeHeaders([ttl, [HEADER.expectedSubjectSequence, String(task.recordSequence)]]);
      try {
        await this.stored(task, () => this.connection.publish(subject, body, headers));
        return true;
      } catch (error) {
        if (!(error instanceof WrongSequenceError)) throw error;
        const { record, sequence } = await this.stored(task, () => this.store.record(task.queue, task.key, leaderGet));
        if (record && record.hop >= task.headers.hop && record.state !== 'queued' && record.state !== 'accepted') return false;
        task.recordSequence = sequence;
      }
    }
  }

  /** Repeats a write until it is confirmed, as long as the lease is ours. Refusals that no repetition mends are thrown. */
  async stored<T>(task: HeldTask, write: () => Promise<T>): Promise<T> {
    for (;;) {
      if (this.leases.lost(task)) throw new LeaseLostError(task.id);
      try {
        return await write();
      } catch (error) {
        this.assertPassing(task, error);
        await this.connection.whenConnected();
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  /** Throws what no repetition mends; notes the rest. */
  private assertPassing(task: HeldTask, error: unknown): void {
    if (!(error instanceof JetlaneError) || !error.retryable || error instanceof WrongSequenceError) throw error;
    this.options.log.warn({ id: task.id, code: error.code, error: error.message }, 'settle:retrying');
  }

  private history(task: HeldTask, error: ErrorRecord): string {
    return appendHistory(task.headers.errors, { attempt: task.headers.attempt, at: Date.now(), worker: this.options.name, ...error });
  }
}

/** The record of a completed task on its way: at the PubAck the task is acknowledged. */
class CompletedRecord extends Publication {
  constructor(
    subject: string,
    body: string,
    headers: string,
    private readonly task: HeldTask,
    private readonly outcome: Completed,
    private readonly settler: Settler,
  ) {
    super(subject, body, headers);
  }

  confirmed(): void {
    this.settler.recorded(this.task, this.outcome);
  }

  refused(error: Error): void {
    this.settler.notRecorded(this.task, this.outcome, error);
  }
}

const isTooLarge = (error: unknown): boolean => error instanceof JetlaneError && error.code === 'payload-too-large';

const headersOf = (task: HeldTask): HeaderPair[] => decodeHeaders(task.delivery.headers);

/** Written field by field: spreading an object here cost a tenth of the whole settlement. */
function recordOf(task: HeldTask, state: TaskState, worker: string, result?: unknown, reason?: string, error?: ErrorRecord) {
  const { headers } = task;
  return {
    id: task.id,
    hop: headers.hop,
    lane: task.lane,
    type: task.type || undefined,
    group: headers.group,
    state,
    attempt: headers.attempt,
    at: task.times(),
    result,
    error,
    reason,
    worker,
    trace: task.span?.traceId,
    hash: headers.hash,
  };
}

/**
 * The record of a completed task, written as text: this is the one object that every task serializes, and building and
 * walking it cost twice as much as its result. What a stranger may have chosen is quoted by JSON.
 */
function encodeCompleted(task: HeldTask, workerSuffix: string, result: unknown): string | JetlaneError {
  try {
    const { headers, delivery } = task;
    const trace = task.span?.traceId;
    const created = headers.createdAt === undefined ? '' : `"created":${headers.createdAt},`;
    const rare =
      headers.group === undefined && headers.hash === undefined
        ? ''
        : `${optional('group', headers.group)}${optional('hash', headers.hash)}`;
    const body = `{"id":${quoted(task.id)},"hop":${headers.hop},"lane":"${task.lane}","type":${quoted(task.type)},${rare}"state":"completed","attempt":${headers.attempt},"at":{${created}"stored":${delivery.storedAt},"fetched":${task.fetchedAt},"started":${task.startedAt},"finished":${task.finishedAt}},${optional('result', result)}${workerSuffix}${trace ? `,"trace":"${trace}"}` : '}'}`;
    if (body.length * 3 <= RESULT_LIMIT || Buffer.byteLength(body) <= RESULT_LIMIT) return body;
    return new JetlaneError(
      'result-too-large',
      `the result of task "${task.id}" makes a record of ${Buffer.byteLength(body)} bytes, more than ${RESULT_LIMIT}; store it elsewhere and return a reference`,
    );
  } catch (cause) {
    return new JetlaneError('result-too-large', `the result of task "${task.id}" cannot be written as JSON: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** A JSON string; ids and types of the usual form need no escaping. */
function quoted(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 32 || code > 126 || code === 34 || code === 92) return JSON.stringify(text);
  }
  return `"${text}"`;
}

/** `"name":<json>,` or nothing for what JSON leaves out. */
function optional(name: string, value: unknown): string {
  const json = value === undefined ? undefined : JSON.stringify(value);
  return json === undefined ? '' : `"${name}":${json},`;
}
