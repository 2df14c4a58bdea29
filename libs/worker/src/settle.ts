import { type BulkStream, type Connection, leaderGet, Publication, type TaskStore } from '@jetlane/jetstream';
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
  toErrorRecord,
  WrongSequenceError,
  withHeaders,
} from '@jetlane/protocol';
import type { Outcome } from './classify.js';
import type { HeldTask } from './held-task.js';
import { type LeaseKeeper, LeaseLostError } from './lease-keeper.js';
import type { CompiledOptions } from './options.js';
import { encodeCompleted, type FinalOutcome, recordText } from './record-text.js';
import { forgetCrash } from './redelivery.js';
import { Withdrawal, type WithdrawalParts } from './withdrawal.js';

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
  /** Headers of a record that is kept so long; remembered, since it is the same for all but a changed definition. */
  private recordHeaders = '';
  private recordHeadersFor = -1;
  private readonly records: BulkStream;
  private readonly withdrawal: Withdrawal;
  /** End of every completed task's record. */
  private readonly workerSuffix: string;

  constructor(
    private readonly connection: Connection,
    private readonly store: TaskStore,
    private readonly leases: LeaseKeeper,
    private readonly options: CompiledOptions,
    private readonly listener: SettledListener,
  ) {
    this.records = connection.bulkStream(connection.names.taskStates);
    const stored: WithdrawalParts['stored'] = (task, call) => this.stored(task, call);
    this.withdrawal = new Withdrawal({ store, stored, keepMs: () => this.options.keepFailuresMs });
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
    if (!this.kept(task, outcome)) return this.acknowledgeNow(task, outcome);
    const body = encodeCompleted(task, this.workerSuffix, outcome.result, this.options.keepPayload);
    if (body instanceof JetlaneError) return this.finish(task, this.buryResult(task, body));
    const subject = this.connection.names.state(task.queue, task.key);
    const { keepRecordsMs } = this.options;
    if (this.recordHeadersFor !== keepRecordsMs) this.recordHeaders = headerText([ttlOf(keepRecordsMs)]);
    this.recordHeadersFor = keepRecordsMs;
    this.records.post(new CompletedRecord(subject, body, this.recordHeaders, task, outcome, this));
  }

  /** The lease is ours, so the task is nobody else's. */
  owns(task: HeldTask): boolean {
    return !this.leases.lost(task);
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
    if (!this.kept(task, outcome)) return this.acknowledge(task, outcome);
    const body = encodeCompleted(task, this.workerSuffix, outcome.result, this.options.keepPayload);
    if (body instanceof JetlaneError) return this.buryResult(task, body);
    return this.acknowledge(task, (await this.writeRecord(task, body, this.options.keepRecordsMs)) ? outcome : { kind: 'duplicate' });
  }

  /**
   * Whether an outcome leaves a record. One that stands is always brought to its end; and the record of a task whose key the caller gave
   * is what a later use of the key is answered from, so it is written whatever `keep` says.
   */
  private kept(task: HeldTask, outcome: FinalOutcome): boolean {
    const { keep } = this.options;
    if (keep === 'all' || task.recordSequence >= 0 || task.headers.hash !== undefined) return true;
    return keep === 'failures' && outcome.kind !== 'completed';
  }

  private buryResult(task: HeldTask, error: JetlaneError): Promise<Outcome> {
    return this.bury(task, { kind: 'dead', reason: error.code, error: toErrorRecord(error) });
  }

  // Crash before the timer: the attempt is repeated. Between timer and ack: the redelivery finds the timer (or what
  // became of it, of a higher hop) and only acks. Test: worker-crash.spec "retry".
  private async retry(task: HeldTask, outcome: Outcome & { kind: 'retry' }): Promise<Outcome> {
    const cancelled = await this.withdrawal.cancellation(task);
    if (cancelled) return this.acknowledge(task, cancelled);
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
      stillWanted: () => this.owns(task),
    };
    try {
      await this.stored(task, () => this.store.setTimer(timer));
    } catch (error) {
      if (!isTooLarge(error)) throw error;
      return this.bury(task, { kind: 'dead', reason: 'payload-too-large', error: outcome.error });
    }
    return this.acknowledge(task, (await this.withdraw(task, outcome.delayMs)) ?? outcome);
  }

  /** Takes back the next hop of a task that was cancelled meanwhile; see {@link Withdrawal.withdraw}. */
  withdraw(task: HeldTask, delayMs?: number): Promise<Outcome | undefined> {
    return this.withdrawal.withdraw(task, delayMs);
  }

  // Dead letter first, since it holds the payload; then the record that watchers wait for; then the ack. Crash after the
  // dead letter: the redelivery finds it and only acks; the lookup reads the dead letter. Test: worker-crash.spec "dead".
  private async bury(task: HeldTask, outcome: Outcome & { kind: 'dead' }): Promise<Outcome> {
    await this.publishDead(task, outcome);
    return this.recordFailure(task, outcome);
  }

  private async publishDead(task: HeldTask, outcome: Outcome & { kind: 'dead' }): Promise<void> {
    const extra = {
      [HEADER.deadReason]: outcome.reason,
      [HEADER.deadError]: asciiJson(outcome.error),
      [HEADER.deadAt]: Date.now(),
      [HEADER.deadSource]: `${this.connection.names.lane(task.queue, task.lane).stream}:${task.delivery.streamSequence}`,
      [HEADER.deadLane]: task.lane,
      [HEADER.fingerprint]: fingerprint(task.type, outcome.error),
      [HEADER.errors]: this.history(task, outcome.error),
    };
    const letter = { headers: headersOf(task), data: task.delivery.data, hop: task.headers.hop, extra, stillWanted: () => this.owns(task) };
    await this.stored(task, () => this.store.publishDead(task.queue, task.key, letter));
  }

  // As for completed. Test: worker-failures.spec "cancelled".
  private cancel(task: HeldTask, outcome: Outcome & { kind: 'cancelled' }): Promise<Outcome> {
    return this.recordFailure(task, outcome);
  }

  private async recordFailure(task: HeldTask, outcome: Outcome & { kind: 'dead' | 'cancelled' }): Promise<Outcome> {
    if (!this.kept(task, outcome)) return this.acknowledge(task, outcome);
    const text = recordText(task, outcome, this.options.name, this.options.keepPayload);
    const written = await this.writeRecord(task, text, this.options.keepFailuresMs);
    // The record of whoever cancelled it says the same.
    const ours = written || (outcome.kind === 'cancelled' && Boolean(await this.withdrawal.cancellation(task)));
    return this.acknowledge(task, ours ? outcome : { kind: 'duplicate' });
  }

  // The server gives it to another at once. On one of the last two deliveries a NAK could exhaust the server's count, so
  // the task goes back as a new publication (hop + 1): crash before it, the lease expires; between it and the ack, the
  // redelivery finds the higher hop. Test: worker-drain.spec.
  async handBack(task: HeldTask, outcome: Outcome): Promise<Outcome> {
    if (this.leases.lost(task)) throw new LeaseLostError(task.id);
    await forgetCrash(task, this.store, this.options).catch(() => undefined);
    if (task.delivery.count < this.options.maxDeliveries - 1) return this.giveBack(task, outcome);
    await this.republish(task);
    return this.acknowledge(task, (await this.withdraw(task, 0)) ?? outcome);
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
    const copy = { headers: headersOf(task), data: delivery.data, hop: task.headers.hop + 1, stillWanted: () => this.owns(task) };
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
  private async writeRecord(task: HeldTask, body: string, keepMs: number): Promise<boolean> {
    const subject = this.connection.names.state(task.queue, task.key);
    if (task.recordSequence >= 0) return this.compareAndSet(task, subject, body, ttlOf(keepMs));
    const headers = headerText([ttlOf(keepMs)]);
    await this.stored(task, () => this.connection.publish(subject, body, headers, () => this.owns(task)));
    return true;
  }

  private async compareAndSet(task: HeldTask, subject: string, body: string, ttl: HeaderPair): Promise<boolean> {
    for (;;) {
      const headers = encodeHeaders([ttl, [HEADER.expectedSubjectSequence, String(task.recordSequence)]]);
      try {
        await this.stored(task, () => this.connection.publish(subject, body, headers, () => this.owns(task)));
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
    const { headers, notes } = task;
    const entry = { attempt: headers.attempt, at: Date.now(), worker: this.options.name, ...error };
    return appendHistory(headers.errors, notes?.log ? { ...entry, log: notes.log } : entry);
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

  /** A record that came after the lease could replace that of the worker which has the task now. */
  override stillWanted(): boolean {
    return this.settler.owns(this.task);
  }

  confirmed(): void {
    this.settler.recorded(this.task, this.outcome);
  }

  refused(error: Error): void {
    this.settler.notRecorded(this.task, this.outcome, error);
  }
}

const ttlOf = (keepMs: number): HeaderPair => [HEADER.ttl, `${Math.ceil(keepMs / 1000)}s`];

const isTooLarge = (error: unknown): boolean => error instanceof JetlaneError && error.code === 'payload-too-large';

const headersOf = (task: HeldTask): HeaderPair[] => decodeHeaders(task.delivery.headers);
