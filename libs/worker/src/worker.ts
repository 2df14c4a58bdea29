import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { type Connection, ensureQueue, openQueueBucket, provisionLane, streamState, TaskStore } from '@jetlane/jetstream';
import {
  type Duration,
  JetlaneError,
  type Lane,
  parseQueueDefinition,
  type QueueDefinition,
  toMs,
  UnknownQueueError,
} from '@jetlane/protocol';
import type { HopHistograms } from '@jetlane/telemetry';
import { Cancellations } from './cancellations.js';
import { WorkerEmitter, type WorkerEvents } from './events.js';
import { decodeOrFail } from './execute.js';
import { FetchLoop } from './fetch-loop.js';
import { minGapOf } from './handler-options.js';
import { ABORT_GRACE_MS, type HeldTask } from './held-task.js';
import { LENGTHEN_AFTER_MS, LeaseKeeper, LeaseLostError } from './lease-keeper.js';
import { Limiter } from './limits/limiter.js';
import { putAway } from './limits/put-away.js';
import { type CompiledOptions, checkLimits, compileOptions, type WorkerLimits, type WorkerOptions } from './options.js';
import { Pipeline } from './pipeline.js';
import { needsCheck } from './redelivery.js';
import { Reporter } from './reporter.js';
import { Interrupted } from './task-context.js';
import { Watchdog } from './watchdog.js';
import { within } from './within.js';

/** `idle` → `running` → `stopping` → `idle`. Only start() and stop() change it. */
export type WorkerState = 'idle' | 'running' | 'stopping';

interface Engine {
  /** One object for all parts: a changed definition changes it in place. */
  readonly options: CompiledOptions;
  readonly leases: LeaseKeeper;
  readonly cancellations: Cancellations;
  readonly pipeline: Pipeline;
  readonly loop: FetchLoop;
  readonly watchdog: Watchdog;
  readonly limiter: Limiter;
  readonly reporter: Reporter;
}

/** What is needed to send back a task that never ran. */
type Unrun = Pick<Engine, 'options' | 'leases' | 'pipeline'>;

/** How long the settlement of aborted tasks may take at the end of a stop, in ms. */
const LAST_SETTLEMENT_MS = 5000;
const LAST_WORDS_MS = 1000;
const RECHECK_MS = 300;
/** How long a stop waits for a link that is down to hand back what never ran, in ms; then it is left to its lease. */
const HAND_BACK_MS = 3000;

/** A pool of slots that runs the tasks of one queue. Start and stop may be called in any order and as often as one likes. */
export class Worker {
  readonly name: string;
  private state: WorkerState = 'idle';
  private engine: Engine | undefined;
  private readonly emitter: WorkerEmitter;
  private stopWatching: (() => void) | undefined;
  /** The last start or stop that was asked for; each waits for the one before it. */
  private last: Promise<void> = Promise.resolve();
  private readonly doubted = new Set<Lane>();
  private raising: NodeJS.Timeout | undefined;
  private lookingBack: NodeJS.Timeout | undefined;

  constructor(
    private readonly connection: Connection,
    private options: WorkerOptions,
  ) {
    this.name = options.name ?? `${hostname().replace(/[^A-Za-z0-9_-]/g, '-')}-${process.pid}-${randomBytes(2).toString('hex')}`;
    this.emitter = new WorkerEmitter(options.log ?? { info: () => undefined, warn: () => undefined, error: () => undefined });
  }

  /** The queue that it works for. */
  get queue(): string {
    return this.options.queue;
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

  /**
   * Changes the worker's own limits, while it runs or before.
   * @throws JetlaneError `invalid-configuration`
   */
  adjust(limits: WorkerLimits): void {
    checkLimits(this.options.queue, limits);
    this.options = { ...this.options, ...limits } as WorkerOptions;
    this.engine?.limiter.adjust(limits);
  }

  /**
   * Changes the least time between the beginnings of two batches of a task type, while the worker runs or before; it holds for what waits
   * already. 0: none.
   * @throws JetlaneError `invalid-configuration` for a type without a batch handler here, or a gap of more than 1 h
   */
  setMinGap(type: string, minGap: Duration): void {
    const { handlers, queue } = this.options;
    const entry = handlers[type];
    if (entry === undefined || !('handleBatch' in entry)) {
      const details = { queue, type };
      throw new JetlaneError('invalid-configuration', `queue "${queue}" has no batch handler for "${type}" in this worker`, { details });
    }
    const gapMs = minGapOf(type, minGap);
    this.options = { ...this.options, handlers: { ...handlers, [type]: { ...entry, minGap: gapMs } } };
    this.engine?.pipeline.batches.setMinGap(type, gapMs);
  }

  /** Aborts what runs now: for a second signal. */
  abort(): void {
    for (const task of [...(this.engine?.leases.running() ?? [])]) task.abort(new Interrupted('the worker was told to stop at once'));
  }

  /** How long each hop of its tasks took since it started, by lane; see {@link hopMetrics}. */
  hopTimes(): Iterable<readonly [Lane, HopHistograms]> {
    return this.engine?.reporter.hopTimes() ?? [];
  }

  /**
   * What the worker does now, per lane; for readiness and the live view. `problems` says which lane gets no tasks and why;
   * `ready` is false while there is any. A lane that somebody paused is told in `paused` and is no problem. `limits` says what of the
   * queue's limits is this worker's at the moment, where there are any.
   */
  health() {
    const { engine } = this;
    const connected = this.connection.state === 'connected';
    const lanes = engine?.loop.snapshot().map((view) => ({ ...view, ...engine.watchdog.trouble(view.lane) })) ?? [];
    const problems = lanes.flatMap(({ lane, stuck, refused }) => {
      const reason = stuck ?? (refused === undefined ? undefined : `pulls are refused: ${refused}`);
      return reason === undefined ? [] : [`${lane}: ${reason}`];
    });
    if (!connected) problems.unshift('the link to NATS is down');
    return {
      state: this.state,
      ready: this.state === 'running' && problems.length === 0,
      problems,
      connected,
      slots: engine?.loop.slots ?? 0,
      busy: engine?.loop.running ?? 0,
      settling: engine?.loop.settling ?? 0,
      lanes,
      ...(engine?.loop.gate ? { limits: engine.loop.gate.view() } : {}),
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
    this.engine = this.build(compileOptions(this.options, definition, this.name));
    this.engine.limiter.onDefinition = (changed) => this.redefine(changed);
    this.state = 'running';
    this.engine.leases.start();
    this.engine.cancellations.start();
    this.engine.reporter.start();
    this.engine.limiter.start(definition);
    this.engine.loop.start();
    this.engine.watchdog.start();
    this.lookingBack = setInterval(() => this.lookBack(this.engine!), this.engine.options.leaseMs / 3).unref();
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

  private build(options: CompiledOptions): Engine {
    const { connection } = this;
    const store = new TaskStore(connection);
    const leases = new LeaseKeeper(connection, options.leaseMs);
    const cancellations = new Cancellations(connection, options, () => leases.all());
    const reporter = new Reporter(connection, options, {
      busy: () => loop.running,
      slots: () => loop.slots,
      running: () => leases.running(),
    });
    const loop = new FetchLoop(connection, options, leases, {
      run: (task) => pipeline.begin(task),
      missing: (lane) => this.doubt(lane),
      handBack: (task) => this.returnUnrun(task, { pipeline, leases, options }),
      putAway: (task, delayMs) => this.putAway(task, delayMs, { pipeline, leases, options }, store),
    });
    const watchdog = new Watchdog(connection, options, {
      lanes: () => loop.snapshot(),
      rebuild: (lane) => loop.rebuild(lane),
      provision: (lane) => this.reprovision(lane),
      stuck: (lane, reason, forMs) => this.emitter.emit('lane:stuck', { queue: options.queue, lane, reason, forMs }),
      recovered: (lane) => this.emitter.emit('lane:recovered', { queue: options.queue, lane }),
    });
    const limiter = new Limiter(connection, options, loop, this.options, () => leases.running());
    const pipeline = new Pipeline({
      connection,
      store,
      leases,
      cancellations,
      reporter,
      emitter: this.emitter,
      options,
      ran: (task) => loop.ran(task),
      done: (task) => loop.done(task),
    });
    return { options, leases, cancellations, pipeline, loop, limiter, watchdog, reporter };
  }

  /** The queue's definition has changed: what a running worker can take over, it takes over; slots and limits are the limiter's. */
  private redefine(definition: QueueDefinition): void {
    if (this.state !== 'running') return;
    const { options, leases } = this.engine!;
    const before = options.maxDeliveries;
    const changed = compileOptions(this.options, definition, this.name);
    // Fewer deliveries hold at once. More hold when the consumer has surely got them: a NAK of what it counts as the last one is for ever.
    Object.assign(options, changed, { maxDeliveries: Math.min(before, changed.maxDeliveries) });
    clearTimeout(this.raising);
    if (changed.maxDeliveries > before)
      this.raising = setTimeout(() => Object.assign(options, { maxDeliveries: changed.maxDeliveries }), LENGTHEN_AFTER_MS).unref();
    leases.change(options.leaseMs);
  }

  private linkChanged(state: Connection['state']): void {
    if (state !== 'connected' || this.state !== 'running') return;
    const { loop, leases } = this.engine!;
    void leases.renew();
    this.lookBack(this.engine!);
    loop.start();
  }

  /** The lane's consumer does not answer: it may be gone, or somebody made it anew, and a new one knows no delivery. */
  private doubt(lane: Lane): void {
    this.engine!.pipeline.rebuiltAt = performance.now();
    if (this.doubted.has(lane)) return;
    this.doubted.add(lane);
    void this.recheck(this.engine!, lane).finally(() => this.doubted.delete(lane));
  }

  /** A consumer on its way out may still be listed at the first look, and swallow the next pull without a word. */
  private async recheck({ watchdog, loop }: Engine, lane: Lane): Promise<void> {
    await this.letGoOlder(lane);
    await watchdog.look(lane);
    await new Promise((resolve) => setTimeout(resolve, RECHECK_MS).unref());
    await watchdog.look(lane);
    await this.letGoOlder(lane);
    if (this.state === 'running' && this.engine?.loop === loop) loop.rebuild(lane);
  }

  /** A worker without a free slot has no pull that would tell it. */
  private lookBack({ leases }: Engine): void {
    for (const lane of new Set([...leases.all()].map((task) => task.lane))) void this.letGoOlder(lane);
  }

  /** Somebody may have made the lane's stream anew. One that is missing is looked for again when it is made. */
  private async letGoOlder(lane: Lane): Promise<void> {
    const { stream } = this.connection.names.lane(this.options.queue, lane);
    const found = await streamState(this.connection, stream).catch(() => undefined);
    if (found) this.engine?.leases.letGoOlder(lane, Date.parse(found.created));
  }

  /** Somebody deleted the lane's consumer or stream, or the server came back without it. */
  private async reprovision(lane: Lane): Promise<void> {
    const { options, pipeline } = this.engine!;
    pipeline.rebuiltAt = performance.now();
    if (this.state !== 'running') return;
    try {
      const entry = await (await openQueueBucket(this.connection)).get(options.queue);
      // A queue that somebody deleted is not made again by those who worked for it.
      if (!entry) throw new UnknownQueueError(options.queue);
      await provisionLane(this.connection, parseQueueDefinition(entry.value), lane);
      await this.letGoOlder(lane);
    } catch (error) {
      options.log.warn({ queue: options.queue, lane, error: (error as Error).message }, 'lane:missing');
    }
  }

  private async drain(engine: Engine, timeoutMs: number): Promise<void> {
    this.stopWatching?.();
    clearTimeout(this.raising);
    clearInterval(this.lookingBack);
    const { loop, limiter, leases, reporter, pipeline, watchdog } = engine;
    watchdog.stop();
    const left = await loop.stop();
    pipeline.drain();
    await Promise.all([
      within(Math.min(timeoutMs, HAND_BACK_MS), Promise.all(left.map((task) => this.returnUnrun(task, engine)))),
      loop.idle(timeoutMs),
    ]);
    this.abort();
    await loop.idle(ABORT_GRACE_MS + LAST_SETTLEMENT_MS);
    leases.stop();
    engine.cancellations.stop();
    await within(LAST_WORDS_MS, Promise.all([reporter.stop(), limiter.stop()]));
    if (this.connection.state === 'connected') await within(LAST_WORDS_MS, this.connection.flush());
  }

  /** A task that never ran goes back as it is. */
  private returnUnrun(task: HeldTask, engine: Unrun): Promise<void> {
    return this.sendBack(task, engine, () => engine.pipeline.settler.handBack(task, { kind: 'interrupted' }));
  }

  /** A task that never ran goes back to its lane by a timer. */
  private putAway(task: HeldTask, delayMs: number, engine: Unrun, store: TaskStore): Promise<void> {
    const { settler, rebuiltAt } = engine.pipeline;
    const doubtful = needsCheck(task, Math.max(this.connection.reconnectedAt, rebuiltAt), engine.options.leaseMs);
    return this.sendBack(task, engine, () => putAway(task, delayMs, { store, settler, doubtful }));
  }

  private async sendBack(task: HeldTask, { leases, options }: Unrun, send: () => Promise<unknown>): Promise<void> {
    try {
      decodeOrFail(task, options);
      await send();
    } catch (error) {
      if (!(error instanceof LeaseLostError)) options.log.warn({ id: task.id, error: String(error) }, 'handback:failed');
    }
    leases.release(task);
  }
}
