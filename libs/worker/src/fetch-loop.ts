import type { Connection } from '@jetlane/jetstream';
import { type Lane, planPulls, surplusFor } from '@jetlane/protocol';
import { decodeOrFail } from './execute.js';
import type { HeldTask } from './held-task.js';
import { LaneIntake } from './lane-intake.js';
import { LaneTurns } from './lane-turns.js';
import type { LeaseKeeper } from './lease-keeper.js';
import type { Gate } from './limits/gate.js';
import { HandOver } from './limits/hand-over.js';
import type { LimitedLoop } from './limits/limiter.js';
import type { CompiledOptions } from './options.js';
import { within } from './within.js';

/** What a handler is taken to need until the first one has ended, in ms: with it few slots ask for few tasks. */
const FIRST_RUN_MS = 25;

export interface FetchLoopHooks {
  /** Runs one task from start to settlement; tells the loop by `ran` and `done`, whatever comes of it; must not throw. */
  readonly run: (task: HeldTask) => void;
  /** The lane's consumer or stream does not answer. */
  readonly missing: (lane: Lane) => void;
  /** A task that never ran goes back as it is, to whoever asks next; resolves when it is gone, whatever comes of it. */
  readonly handBack: (task: HeldTask) => Promise<void>;
  /** A task that never ran goes back to its lane after some ms; likewise. */
  readonly putAway: (task: HeldTask, delayMs: number) => Promise<void>;
}

/**
 * Keeps the slots busy: asks for tasks for free slots (see `planPulls`), and starts the next of those that came by
 * lane order whenever a slot is free and the gate, if there is one, lets it. Running + parked + buffered + asked for never
 * exceeds slots + 8 × (lanes − 1).
 */
export class FetchLoop implements LimitedLoop {
  running = 0;
  slots: number;
  gate: Gate | undefined;
  readonly load = { wants: () => this.wants() };
  /** Runs that have ended and are not settled yet. */
  settling = 0;
  private readonly intake: LaneIntake;
  private readonly turns: LaneTurns;
  /** Looks again when a rate lets the next task start. */
  private gateTimer: NodeJS.Timeout | undefined;
  private readonly handOver: HandOver;
  /** How long handlers run, on average. */
  private runMs = FIRST_RUN_MS;
  private fetching = false;
  private turnScheduled = false;
  private idleListener: (() => void) | undefined;

  constructor(
    private readonly connection: Connection,
    private readonly options: CompiledOptions,
    leases: LeaseKeeper,
    private readonly hooks: FetchLoopHooks,
  ) {
    this.intake = new LaneIntake(connection, options, leases, {
      changed: () => this.schedule(),
      exhausted: (index) => this.turns.forget(index),
      missing: hooks.missing,
    });
    const { lanes } = this.intake;
    this.turns = new LaneTurns(lanes, options, () => this.turn());
    this.slots = options.slots;
    this.handOver = new HandOver({
      connection,
      queue: options.queue,
      lanes,
      limited: () => this.gate?.startable(performance.now()) === 0,
      rests: () => this.rests,
      handBack: (lane) => this.handBack(lane),
    });
  }

  /** Starts pulling; also after a reconnect, on fresh inboxes. */
  start(): void {
    this.fetching = true;
    this.intake.start();
    this.turn();
  }

  /** Stops pulling. @returns what never ran: the buffer, and what was under way when the server was told */
  async stop(): Promise<HeldTask[]> {
    this.fetching = false;
    this.turns.stop();
    clearTimeout(this.gateTimer);
    this.handOver.close();
    const left = await this.intake.close();
    return [...(this.gate?.unpark() ?? []), ...left];
  }

  /** Throws away what a lane asked for and asks anew; what was under way is still delivered. */
  rebuild(lane: Lane): void {
    this.intake.rebuild(lane);
    this.schedule();
  }

  /** Per lane: buffered, asked for, delivered so far, last known backlog, and why the last pull was refused. */
  snapshot() {
    return this.intake.snapshot();
  }

  /** All deliveries of one read from the socket are looked at together. */
  private schedule(): void {
    if (this.turnScheduled) return;
    this.turnScheduled = true;
    queueMicrotask(() => this.turn());
  }

  private turn(): void {
    this.turnScheduled = false;
    if (!this.fetching) return;
    if (this.gate) this.openGate(this.gate);
    this.startKept();
    while (this.intake.waiting > 0 && this.running + this.turns.kept < this.slots && this.mayStart()) {
      const index = this.nextLane();
      if (index < 0) break;
      if (this.intake.lanes[index]!.buffered > 0) this.startNext(index);
      else this.turns.keep(index);
    }
    if (this.intake.waiting > 0) this.handOver.watch();
    if (this.connection.state === 'connected' && this.settling < this.options.settleWindow) this.openPulls();
    if (this.handOver.busy && this.rests) this.handOver.rests();
  }

  private get rests(): boolean {
    return this.fetching && this.running + this.intake.waiting === 0;
  }

  private nextLane(): number {
    const { gate, slots, turns } = this;
    return turns.next(this.connection.state === 'connected', (i) => gate === undefined || gate.laneFree(i, slots, turns.owed) > 0);
  }

  /** What slots were kept for, and has come meanwhile. */
  private startKept(): void {
    this.turns.refresh();
    for (let i = 0; i < this.intake.lanes.length; i++) {
      while (this.intake.lanes[i]!.buffered > 0 && this.running < this.slots && this.mayStart() && this.turns.pay(i)) this.startNext(i);
    }
  }

  private startNext(index: number): void {
    const task = this.intake.take(index);
    if (this.gate === undefined || this.passes(this.gate, task)) this.startTask(task);
  }

  private startTask(task: HeldTask): void {
    this.running++;
    this.handOver.busy = true;
    task.slot = 'running';
    this.hooks.run(task);
  }

  private openPulls(): void {
    const lanes = this.intake.lanes.map(({ puller, pending, buffered }) => ({ buffered, open: puller.open, pending }));
    const { slots, running, gate } = this;
    const now = performance.now();
    const limits = gate ? { parked: gate.parked, startable: this.startable(gate, now) } : undefined;
    const state = { slots, running, surplus: surplusFor(slots, this.runMs), ...limits, lanes };
    const asks = planPulls(state, this.options.mode, this.options.weights);
    this.intake.pull(asks, now);
  }

  private mayStart(): boolean {
    return this.settling < this.options.settleWindow && (this.gate === undefined || this.gate.open(performance.now()));
  }

  /** Parked tasks go first; when a rate says wait, the next look is when it lets a task start. */
  private openGate(gate: Gate): void {
    const now = performance.now();
    clearTimeout(this.gateTimer);
    if (this.running < this.slots) this.unpark(gate.ready(now));
    const wait = gate.waitMs(now);
    if (wait < Number.POSITIVE_INFINITY && wait > 0) this.gateTimer = setTimeout(() => this.turn(), Math.ceil(wait));
  }

  /** The handler of a task has ended: its slot is free. */
  ran(task: HeldTask): void {
    if (task.slot !== 'running') return;
    task.slot = 'settling';
    this.running--;
    this.settling++;
    if (task.startedAt > 0) this.runMs += (task.runMicros / 1000 - this.runMs) / 16;
    if (this.gate) this.gate.ended(task, performance.now());
    this.schedule();
  }

  /** The task is settled or lost. */
  done(task: HeldTask): void {
    this.ran(task);
    task.slot = 'free';
    this.settling--;
    if (this.idleListener !== undefined && this.running + this.settling === 0) this.idleListener();
    this.schedule();
  }

  /** Resolves when no task runs or is being settled, or after a time. */
  async idle(timeoutMs: number): Promise<void> {
    if (this.running + this.settling === 0) return;
    await within(timeoutMs, new Promise<void>((resolve) => (this.idleListener = resolve)));
    this.idleListener = undefined;
  }

  /** A task whose group is at its limit waits apart: it keeps no slot, and nobody waits behind it. */
  private passes(gate: Gate, task: HeldTask): boolean {
    const now = performance.now();
    decodeOrFail(task, this.options);
    if (gate.admits(task, now)) {
      gate.started(task, now);
      return true;
    }
    const away = gate.park(task, now, this.runMs);
    if (away !== undefined) this.leave(task, this.hooks.putAway(task, away));
    return false;
  }

  private startable(gate: Gate, now: number): number[] {
    const most = gate.startable(now);
    return this.intake.lanes.map((_, i) => Math.min(most, gate.laneFree(i, this.slots, this.turns.owed)));
  }

  /** What could run here now if nothing held it back. */
  private wants(): number {
    return Math.min(this.slots, this.running + this.intake.waiting + this.intake.lanes.reduce((sum, { pending }) => sum + pending, 0));
  }

  wake(): void {
    this.schedule();
  }

  unpark(tasks: readonly HeldTask[]): void {
    for (const task of tasks) this.intake.putFront(task);
    if (tasks.length > 0) this.schedule();
  }

  putAway(tasks: readonly HeldTask[]): void {
    for (const task of tasks) this.leave(task, this.hooks.putAway(task, this.gate!.away(task, performance.now(), this.runMs)));
  }

  private handBack(lane: number): void {
    const task = this.intake.take(lane);
    this.leave(task, this.hooks.handBack(task));
  }

  /** A task that never ran goes; until it is gone it counts as one that is being settled. */
  private leave(task: HeldTask, gone: Promise<void>): void {
    task.slot = 'settling';
    this.settling++;
    const done = () => this.done(task);
    gone.then(done, done);
  }
}
