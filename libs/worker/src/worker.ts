import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { type Connection, ensureQueue, provisionLane, TaskStore } from '@jetlane/jetstream';
import {
  type CountedOutcome,
  type Duration,
  JetlaneError,
  type Lane,
  parseQueueDefinition,
  type QueueDefinition,
  toMs,
  WrongSequenceError,
} from '@jetlane/protocol';
import { type ActiveProcess, startProcess } from '@jetlane/telemetry';
import type { Outcome } from './classify.js';
import { EVENT_OF, eventOf, WorkerEmitter, type WorkerEvents } from './events.js';
import { decodeOrFail, failureOf, prepare, runHandler } from './execute.js';
import { FetchLoop } from './fetch-loop.js';
import { ABORT_GRACE_MS, type HeldTask } from './held-task.js';
import { LeaseKeeper, LeaseLostError } from './lease-keeper.js';
import { type CompiledOptions, compileOptions, type WorkerOptions } from './options.js';
import { checkRedelivery, needsCheck } from './redelivery.js';
import { Reporter } from './reporter.js';
import { Settler } from './settle.js';
import { Interrupted } from './task-context.js';
import { within } from './within.js';

/** `idle` → `running` → `stopping` → `idle`. Only start() and stop() change it. */
type WorkerState = 'idle' | 'running' | 'stopping';

interface Engine {
  readonly options: CompiledOptions;
  readonly definition: QueueDefinition;
  readonly store: TaskStore;
  readonly leases: LeaseKeeper;
  readonly settler: Settler;
  readonly loop: FetchLoop;
  readonly reporter: Reporter;
}

/** How long the settlement of aborted tasks may take at the end of a stop, in ms. */
const LAST_SETTLEMENT_MS = 5000;
const LAST_WORDS_MS = 1000;
/** How long a stop waits for a link that is down to hand back what never ran, in ms; then it is left to its lease. */
const HAND_BACK_MS = 3000;

/** A pool of slots that runs the tasks of one queue. Start and stop may be called in any order and as often as one likes. */
export class Worker {
  readonly name: string;
  private state: WorkerState = 'idle';
  private engine: Engine | undefined;
  private readonly emitter: WorkerEmitter;
  private readonly active = new Set<HeldTask>();
  private stopWatching: (() => void) | undefined;
  /** The last start or stop that was asked for; each waits for the one before it. */
  private last: Promise<void> = Promise.resolve();
  private provisioning = false;
  /** `performance.now()` when a lane's consumer was last found missing, or 0: a new one deals out anew what is not acknowledged. */
  private rebuiltAt = 0;

  constructor(
    private readonly connection: Connection,
    private readonly options: WorkerOptions,
  ) {
    this.name = options.name ?? `${hostname().replace(/[^A-Za-z0-9_-]/g, '-')}-${process.pid}-${randomBytes(2).toString('hex')}`;
    this.emitter = new WorkerEmitter(options.log ?? { info: () => undefined, warn: () => undefined, error: () => undefined });
  }

  /** Listens to what happens to tasks here; returns the way to stop listening. What a listener throws is logged. */
  on<E extends keyof WorkerEvents>(event: E, listener: (payload: WorkerEvents[E]) => void): () => void {
    return this.emitter.on(event, listener);
  }

  /**
   * Provisions the queue if nobody did, and starts pulling.
   * @throws JetlaneError `server-too-old`, `invalid-configuration`, `jetstream-api`
   */
  start(): Promise<void> {
    return this.afterLast(() => this.open());
  }

  /**
   * Stops pulling, hands buffered tasks back at once, lets running ones finish until the deadline, then aborts them and
   * hands them back too. Nothing waits for its lease to expire.
   */
  stop(options: { readonly timeout?: Duration } = {}): Promise<void> {
    const timeoutMs = toMs(options.timeout ?? '10s', 'timeout');
    return this.afterLast(() => this.close(timeoutMs));
  }

  /** Aborts what runs now: for a second signal. */
  abort(): void {
    for (const task of this.active) task.abort(new Interrupted('the worker was told to stop at once'));
  }

  /** What the worker does now, per lane; for readiness and the live view. */
  health() {
    const { engine } = this;
    return {
      state: this.state,
      connected: this.connection.state === 'connected',
      slots: engine?.options.slots ?? 0,
      busy: engine?.loop.running ?? 0,
      settling: engine?.loop.settling ?? 0,
      lanes: engine?.loop.snapshot() ?? [],
    };
  }

  private afterLast(step: () => Promise<void>): Promise<void> {
    const next = this.last.then(step);
    this.last = next.catch(() => undefined);
    return next;
  }

  private async open(): Promise<void> {
    if (this.state !== 'idle') return;
    const wanted = parseQueueDefinition({ ...this.options.definition, name: this.options.queue });
    compileOptions(this.options, wanted, this.name);
    const definition = await ensureQueue(this.connection, wanted);
    this.engine = this.build(compileOptions(this.options, definition, this.name), definition);
    this.state = 'running';
    this.engine.leases.start();
    this.engine.reporter.start();
    this.engine.loop.start();
    this.stopWatching = this.connection.onState((state) => this.linkChanged(state));
  }

  private async close(timeoutMs: number): Promise<void> {
    if (this.state !== 'running') return;
    this.state = 'stopping';
    try {
      await this.drain(this.engine!, timeoutMs);
    } finally {
      this.state = 'idle';
    }
  }

  private build(options: CompiledOptions, definition: QueueDefinition): Engine {
    const { connection } = this;
    const store = new TaskStore(connection);
    const leases = new LeaseKeeper(connection, options.leaseMs);
    const settler = new Settler(connection, store, leases, options);
    const loop = new FetchLoop(connection, options, leases, {
      run: (task) => void this.process(task),
      missing: (lane) => void this.reprovision(lane),
    });
    const reporter = new Reporter(connection, options, { busy: () => loop.running, running: () => this.active });
    return { options, definition, store, leases, settler, loop, reporter };
  }

  /** One task, from its slot to its settlement. Never throws. */
  private async process(task: HeldTask): Promise<void> {
    const { leases, settler, loop, options } = this.engine!;
    this.active.add(task);
    let span: ActiveProcess | undefined;
    try {
      decodeOrFail(task, options);
      span = startProcess(spanOf(task), task.headers);
      const outcome = await this.run(task, span);
      task.finish();
      this.active.delete(task);
      loop.ran(task);
      const settled = await settler.settle(task, outcome, span.traceId);
      this.report(task, settled);
      endSpan(span, task, settled);
    } catch (error) {
      span?.end('lost', error);
      this.gaveUp(task, error);
    }
    this.active.delete(task);
    leases.release(task);
    loop.done(task);
  }

  /** Not an async function: on the way of an ordinary task it only hands on the handler's promise. */
  private run(task: HeldTask, span: ActiveProcess): Promise<Outcome> {
    const { options, leases } = this.engine!;
    if (task.decodeError) return Promise.resolve(failureOf(task, task.decodeError, options));
    if (leases.lost(task)) throw new LeaseLostError(task.id);
    const doubtedAt = Math.max(this.connection.reconnectedAt, this.rebuiltAt);
    return needsCheck(task, doubtedAt, options.leaseMs) ? this.runChecked(task, span) : this.runNow(task, span);
  }

  private async runChecked(task: HeldTask, span: ActiveProcess): Promise<Outcome> {
    return (await this.check(task)) ?? this.runNow(task, span);
  }

  private runNow(task: HeldTask, span: ActiveProcess): Promise<Outcome> {
    const { options } = this.engine!;
    if (task.aborted) return Promise.resolve(failureOf(task, task.aborted, options));
    if (task.headers.deadline !== undefined && Date.now() > task.headers.deadline)
      return Promise.resolve({ kind: 'cancelled', reason: 'expired' });
    task.begin();
    if (this.emitter.heard('task:started')) this.emitter.emit('task:started', eventOf(task));
    try {
      const prepared = prepare(task, options);
      return span.run(() => runHandler(task, prepared));
    } catch (error) {
      return Promise.resolve(failureOf(task, error, options));
    }
  }

  /** @returns the outcome when the task must not run */
  private async check(task: HeldTask): Promise<Outcome | undefined> {
    const { store, options } = this.engine!;
    for (;;) {
      try {
        const verdict = await checkRedelivery(task, store, options);
        if (verdict === 'run') return undefined;
        if (verdict !== 'poison') return { kind: 'duplicate' };
        const message = `${task.crashes} workers died while they ran task "${task.id}"; look at what it does before it is redriven`;
        return { kind: 'dead', reason: 'poison', error: { name: 'PoisonError', message, code: 'poison' } };
      } catch (error) {
        if (error instanceof WrongSequenceError) continue;
        if (!(error instanceof JetlaneError) || !error.retryable || this.engine!.leases.lost(task)) throw error;
        await this.connection.whenConnected();
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  private report(task: HeldTask, outcome: Outcome): void {
    this.engine!.reporter.count(task, outcome.kind satisfies CountedOutcome);
    const event = EVENT_OF[outcome.kind];
    if (!event || !this.emitter.heard(event)) return;
    const { emitter } = this;
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

  /** The outcome could not be written; the server will deliver the task again when its lease ends. */
  private gaveUp(task: HeldTask, error: unknown): void {
    const { log } = this.engine!.options;
    if (error instanceof LeaseLostError) {
      task.abort(error);
      log.warn({ id: task.id }, 'lease:lost');
      this.emitter.emit('lease:lost', eventOf(task));
    } else if (!(error instanceof JetlaneError && error.code === 'connection-closed')) {
      log.error({ id: task.id, error: error instanceof Error ? error.message : String(error) }, 'settle:failed');
    }
  }

  private linkChanged(state: Connection['state']): void {
    if (state !== 'connected' || this.state !== 'running') return;
    const { loop, leases } = this.engine!;
    void leases.renew();
    loop.start();
  }

  /** Somebody deleted the lane's consumer or stream, or the server came back without it. */
  private async reprovision(lane: Lane): Promise<void> {
    this.rebuiltAt = performance.now();
    if (this.provisioning || this.state !== 'running' || this.connection.state !== 'connected') return;
    this.provisioning = true;
    const { definition, options } = this.engine!;
    try {
      await provisionLane(this.connection, definition, lane);
    } catch (error) {
      options.log.warn({ queue: options.queue, lane, error: (error as Error).message }, 'lane:missing');
    } finally {
      this.provisioning = false;
    }
  }

  private async drain(engine: Engine, timeoutMs: number): Promise<void> {
    this.stopWatching?.();
    const { loop, leases, reporter } = engine;
    const left = await loop.stop();
    await Promise.all([
      within(Math.min(timeoutMs, HAND_BACK_MS), Promise.all(left.map((task) => this.returnUnrun(task, engine)))),
      loop.idle(timeoutMs),
    ]);
    this.abort();
    await loop.idle(ABORT_GRACE_MS + LAST_SETTLEMENT_MS);
    leases.stop();
    await within(LAST_WORDS_MS, reporter.stop());
    if (this.connection.state === 'connected') await within(LAST_WORDS_MS, this.connection.flush());
  }

  /** A task that never ran goes back as it is. */
  private async returnUnrun(task: HeldTask, { settler, leases, options }: Engine): Promise<void> {
    try {
      decodeOrFail(task, options);
      await settler.handBack(task, { kind: 'interrupted' });
    } catch (error) {
      if (!(error instanceof LeaseLostError)) options.log.warn({ id: task.id, error: String(error) }, 'handback:failed');
    }
    leases.release(task);
  }
}

/** The steps of the way become events of the span. */
function endSpan(span: ActiveProcess, task: HeldTask, settled: Outcome): void {
  span.hop('stored', task.delivery.storedAt);
  span.hop('fetched', task.fetchedAt);
  if (task.startedAt > 0) span.hop('started', task.startedAt);
  if (task.finishedAt > 0) span.hop('finished', task.finishedAt);
  span.end(settled.kind, 'error' in settled ? settled.error : undefined);
}

function spanOf({ id, queue, lane, type, headers, delivery }: HeldTask) {
  return { id, queue, lane, type, attempt: headers.attempt, hop: headers.hop, delivery: delivery.count };
}
