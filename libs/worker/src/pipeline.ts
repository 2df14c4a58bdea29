import type { Connection, TaskStore } from '@jetlane/jetstream';
import { JetlaneError, WrongSequenceError } from '@jetlane/protocol';
import { type ProcessEnd, type ProcessedTask, startProcess } from '@jetlane/telemetry';
import { Batches } from './batches.js';
import type { Cancellations } from './cancellations.js';
import type { Outcome } from './classify.js';
import { EVENT_OF, eventOf, type WorkerEmitter } from './events.js';
import { decodeOrFail, failureOf, noHandler, runHandler } from './execute.js';
import type { SingleHandler } from './handler-options.js';
import type { HeldTask } from './held-task.js';
import { type LeaseKeeper, LeaseLostError } from './lease-keeper.js';
import type { CompiledOptions } from './options.js';
import { RecordLimit } from './record-limit.js';
import { checkRedelivery, needsCheck } from './redelivery.js';
import { Replier } from './reply.js';
import type { Reporter } from './reporter.js';
import type { BatchListener } from './running-batch.js';
import { Settler } from './settle.js';
import { Suspects } from './suspects.js';

/** What the pipeline works with, and whom it tells. */
export interface PipelineParts {
  readonly connection: Connection;
  readonly store: TaskStore;
  readonly leases: LeaseKeeper;
  readonly cancellations: Cancellations;
  readonly reporter: Reporter;
  readonly emitter: WorkerEmitter;
  readonly options: CompiledOptions;
  /** The handler of a task has ended: its slot is free. */
  readonly ran: (task: HeldTask) => void;
  /** The task is settled or lost. */
  readonly done: (task: HeldTask) => void;
}

/**
 * The way of a task from its slot to its settlement: decode → (check) → run → settle → report. Steps of the ordinary way call
 * the next one; nothing is awaited but the handler and the record's PubAck, since every promise of a task in flight is
 * copied by the garbage collector again and again. No method throws.
 */
export class Pipeline implements BatchListener {
  readonly settler: Settler;
  readonly batches: Batches;
  private readonly replier: Replier;
  private readonly suspects: Suspects;
  private readonly recordLimit: RecordLimit;
  /** `performance.now()` when a lane's consumer was last found missing, or 0: a new one deals out anew what is not acknowledged. */
  rebuiltAt = 0;

  constructor(private readonly parts: PipelineParts) {
    const { connection, store, leases, options } = parts;
    this.settler = new Settler(connection, store, leases, options, this);
    this.batches = new Batches(options, this);
    this.replier = new Replier(connection, options);
    this.suspects = new Suspects(options.leaseMs);
    this.recordLimit = new RecordLimit(connection, options);
  }

  /** The worker stops: what waits for a batch or for its turn is handed back. */
  drain(): void {
    this.batches.stop();
    this.suspects.stop();
    this.recordLimit.stop();
  }

  /** A task has got its slot. */
  begin(task: HeldTask): void {
    const { leases, options, connection, cancellations } = this.parts;
    decodeOrFail(task, options);
    cancellations.apply(task);
    task.span = startProcess(() => spanOf(task), task.headers);
    if (task.decodeError !== undefined) this.ended(task, failureOf(task, task.decodeError, options));
    else if (leases.lost(task)) this.abandoned(task, new LeaseLostError(task.id));
    else if (needsCheck(task, Math.max(connection.reconnectedAt, this.rebuiltAt), options.leaseMs)) this.checkThenRun(task);
    else this.run(task);
  }

  private checkThenRun(task: HeldTask): void {
    this.check(task).then(
      (outcome) => (outcome ? this.ended(task, outcome) : this.run(task)),
      (error: unknown) => this.abandoned(task, error),
    );
  }

  private run(task: HeldTask): void {
    const { options } = this.parts;
    if (task.aborted) return this.ended(task, failureOf(task, task.aborted, options));
    if (expired(task)) return this.ended(task, EXPIRED);
    const handler = options.handlers.get(task.type);
    if (handler?.batch !== undefined) return this.batches.add(task, handler);
    this.started(task);
    if (handler === undefined) return this.ended(task, failureOf(task, noHandler(task, options), options));
    this.call(task, handler);
  }

  private call(task: HeldTask, handler: SingleHandler): void {
    task.span!.run(() => runHandler(task, handler, this));
  }

  /** The run begins. */
  started(task: HeldTask): void {
    const { emitter } = this.parts;
    task.begin();
    if (emitter.heard('task:started')) emitter.emit('task:started', eventOf(task));
  }

  /** Looks at a task that has waited for its batch; one that may not run any more is brought to its end. */
  mayRun(task: HeldTask): boolean {
    if (this.parts.leases.lost(task)) this.abandoned(task, new LeaseLostError(task.id));
    else if (expired(task)) this.ended(task, EXPIRED);
    else return true;
    return false;
  }

  /** The handler ended, or a task came to its end without one. A handler that ends after it was given up is not heard. */
  ended(task: HeldTask, outcome: Outcome): void {
    if (task.slot !== 'running') return;
    task.finish();
    task.span?.settling();
    this.parts.ran(task);
    this.settler.settle(task, outcome);
  }

  progressed(task: HeldTask, progress: unknown): void {
    if (task.slot !== 'running') return;
    const { emitter, options } = this.parts;
    try {
      task.note().setProgress(progress);
    } catch (error) {
      return options.log.warn({ id: task.id, error: String(error) }, 'progress:refused');
    }
    if (emitter.heard('task:progress')) emitter.emit('task:progress', { ...eventOf(task), progress: task.note().progress });
  }

  logged(task: HeldTask, line: string): void {
    const text = String(line);
    this.parts.options.log.info({ id: task.id, type: task.type, attempt: task.headers.attempt, line: text }, 'task:log');
    if (task.slot === 'running') task.note().addLine(text);
  }

  /** The outcome is written and the delivery acknowledged. */
  settled(task: HeldTask, outcome: Outcome): void {
    const { reporter, emitter } = this.parts;
    reporter.count(task, outcome.kind);
    if (task.headers.reply !== undefined) this.replier.reply(task, outcome);
    this.recordLimit.wrote();
    const event = EVENT_OF[outcome.kind];
    if (event && emitter.heard(event)) tell(emitter, task, outcome);
    task.span!.end(endOf(task, outcome));
    this.close(task);
  }

  /** The outcome could not be written; the server will deliver the task again when its lease ends. */
  abandoned(task: HeldTask, error: unknown): void {
    const { emitter, options } = this.parts;
    task.span?.end({ outcome: 'lost', error, moments: () => task.moments(0) });
    if (error instanceof LeaseLostError) {
      task.abort(error);
      options.log.warn({ id: task.id }, 'lease:lost');
      emitter.emit('lease:lost', eventOf(task));
    } else if (!(error instanceof JetlaneError && error.code === 'connection-closed')) {
      options.log.error({ id: task.id, ...factsOf(error) }, 'settle:failed');
    }
    this.close(task);
  }

  private close(task: HeldTask): void {
    this.suspects.leave(task);
    this.parts.leases.release(task);
    this.parts.done(task);
  }

  /** @returns the outcome when the task must not run */
  private async check(task: HeldTask): Promise<Outcome | undefined> {
    const { store, options, leases, connection } = this.parts;
    for (;;) {
      try {
        const verdict = await checkRedelivery(task, store, options, (suspect) => this.suspects.turn(suspect));
        if (leases.lost(task)) throw new LeaseLostError(task.id);
        if (verdict === 'run') return undefined;
        if (verdict === 'interrupted') return { kind: 'interrupted' };
        if (verdict === 'overtaken') await this.settler.withdraw(task);
        if (verdict !== 'poison') return { kind: 'duplicate' };
        const message = `${task.crashes} workers died while they ran task "${task.id}"; look at what it does before it is redriven`;
        return { kind: 'dead', reason: 'poison', error: { name: 'PoisonError', message, code: 'poison' } };
      } catch (error) {
        if (error instanceof WrongSequenceError) continue;
        if (!(error instanceof JetlaneError) || !error.retryable || leases.lost(task)) throw error;
        await connection.whenConnected();
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
}

/** What an operator needs of an error: for one of permissions also the subject that the user lacks. */
function factsOf(error: unknown): object {
  if (!(error instanceof JetlaneError)) return { error: error instanceof Error ? error.message : String(error) };
  const { code, message, details } = error;
  return { error: message, code, ...(details.subject === undefined ? {} : { subject: details.subject }) };
}

const EXPIRED = { kind: 'cancelled', reason: 'expired' } as const;

const expired = ({ headers: { deadline } }: HeldTask): boolean => deadline !== undefined && Date.now() > deadline;

function tell(emitter: WorkerEmitter, task: HeldTask, outcome: Outcome): void {
  const about = eventOf(task);
  switch (outcome.kind) {
    case 'completed':
      return emitter.emit('task:completed', { ...about, result: outcome.result });
    case 'retry':
      return emitter.emit('task:failed', { ...about, error: outcome.error, retryInMs: outcome.delayMs });
    case 'dead':
      return emitter.emit('task:dead', { ...about, error: outcome.error, reason: outcome.reason });
    case 'cancelled':
      return emitter.emit('task:cancelled', { ...about, reason: outcome.reason });
    case 'interrupted':
      return emitter.emit('task:interrupted', about);
    case 'duplicate':
      return undefined;
  }
}

const endOf = (task: HeldTask, outcome: Outcome): ProcessEnd => ({
  outcome: outcome.kind,
  ...('error' in outcome ? { error: outcome.error } : {}),
  ...('delayMs' in outcome ? { delayMs: outcome.delayMs } : {}),
  moments: () => task.moments(Date.now()),
});

function spanOf({ id, queue, lane, type, headers, delivery }: HeldTask): ProcessedTask {
  return { id, queue, lane, type, attempt: headers.attempt, hop: headers.hop, delivery: delivery.count };
}
