import { type Connection, type Delivery, MISSED_HEARTBEATS, type PullEnd } from '@jetlane/jetstream';
import { LANES, type Lane, PULL_SURPLUS, planPulls, surplusFor } from '@jetlane/protocol';
import { decodeOrFail } from './execute.js';
import { HeldTask } from './held-task.js';
import { LaneState } from './lane-state.js';
import { LaneTurns } from './lane-turns.js';
import type { LeaseKeeper } from './lease-keeper.js';
import type { Gate } from './limits/gate.js';
import { HandOver } from './limits/hand-over.js';
import type { LimitedLoop } from './limits/limiter.js';
import type { CompiledOptions } from './options.js';
import { within } from './within.js';

/** How long the server may take to confirm that it sends nothing more. */
const DRAIN_MS = 1000;
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
 * Keeps the slots busy: opens pulls for free slots (see `planPulls`), buffers what comes in, and starts the next task by
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
  private readonly lanes: LaneState[];
  /** Tasks that wait for a slot. */
  private waiting = 0;
  private readonly turns: LaneTurns;
  /** Looks again when a rate lets the next task start. */
  private gateTimer: NodeJS.Timeout | undefined;
  private readonly handOver: HandOver;
  /** How long handlers run, on average. */
  private runMs = FIRST_RUN_MS;
  private fetching = false;
  private stopped = false;
  private turnScheduled = false;
  private idleListener: (() => void) | undefined;

  constructor(
    private readonly connection: Connection,
    private readonly options: CompiledOptions,
    private readonly leases: LeaseKeeper,
    private readonly hooks: FetchLoopHooks,
  ) {
    this.lanes = LANES.map((lane, index) => this.openLane(lane, index));
    this.turns = new LaneTurns(this.lanes, options, () => this.turn());
    this.slots = options.slots;
    this.handOver = new HandOver({
      connection,
      queue: options.queue,
      lanes: this.lanes,
      limited: () => this.gate?.startable(performance.now()) === 0,
      rests: () => this.rests,
      handBack: (lane) => this.handBack(lane),
    });
  }

  /** Starts pulling; also after a reconnect, on fresh inboxes. */
  start(): void {
    this.fetching = true;
    for (const state of this.lanes) state.start(this.connection.epoch);
    this.turn();
  }

  /** Stops pulling. @returns what never ran: the buffer, and what was under way when the server was told */
  async stop(): Promise<HeldTask[]> {
    this.fetching = false;
    for (const { wake } of this.lanes) clearTimeout(wake);
    this.turns.stop();
    clearTimeout(this.gateTimer);
    this.handOver.close();
    if (this.connection.state === 'connected') await within(DRAIN_MS, Promise.all(this.lanes.map(({ puller }) => puller.drain())));
    this.stopped = true;
    const left = [...(this.gate?.unpark() ?? []), ...this.lanes.flatMap((state) => state.takeAll())];
    for (const { puller } of this.lanes) puller.stop();
    this.waiting = 0;
    return left;
  }

  /** Throws away what a lane asked for and asks anew; what was under way is still delivered. */
  rebuild(lane: Lane): void {
    this.lanes.find((state) => state.lane === lane)!.rebuild();
    this.schedule();
  }

  /** Per lane: buffered, asked for, delivered so far, last known backlog, and why the last pull was refused. */
  snapshot() {
    return this.lanes.map((state) => state.snapshot());
  }

  private openLane(lane: Lane, index: number): LaneState {
    const { stream, consumer } = this.connection.names.lane(this.options.queue, lane);
    const puller = this.connection.puller({
      stream,
      consumer,
      onDelivery: (delivery) => this.delivered(index, delivery),
      onEnd: (end) => this.ended(index, end),
      onIdle: () => this.lanes[index]!.heard(),
    });
    return new LaneState(lane, puller);
  }

  private delivered(index: number, delivery: Delivery): void {
    // The drain had to be cut short: whoever comes late goes back at once.
    if (this.stopped) return void this.connection.nak(delivery);
    const state = this.lanes[index]!;
    const task = new HeldTask(this.options.queue, state.lane, delivery, Date.now(), this.leases.arrival());
    this.leases.add(task);
    state.brings(task);
    this.waiting++;
    this.schedule();
  }

  /** 404 and 408 are the ordinary ends of a pull; anything else means that the consumer moved, went or fell silent. */
  private ended(index: number, end: PullEnd): void {
    const state = this.lanes[index]!;
    state.lastEnd = end;
    this.turns.forget(index);
    if (end.code === 404 || end.code === 408) state.refusals = 0;
    else this.refused(state, end);
    this.schedule();
  }

  private refused(state: LaneState, end: PullEnd): void {
    const pause = state.pause(performance.now());
    this.options.log.warn({ queue: this.options.queue, lane: state.lane, code: end.code, reason: end.text }, 'pull:refused');
    if (end.code === 503 || end.code === MISSED_HEARTBEATS || /deleted|not found/i.test(end.text)) this.hooks.missing(state.lane);
    clearTimeout(state.wake);
    state.wake = setTimeout(() => this.turn(), pause * 1.5 + 1);
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
    while (this.waiting > 0 && this.running + this.turns.kept < this.slots && this.mayStart()) {
      const index = this.nextLane();
      if (index < 0) break;
      if (this.lanes[index]!.buffered > 0) this.startNext(index);
      else this.turns.keep(index);
    }
    if (this.waiting > 0) this.handOver.watch();
    if (this.connection.state === 'connected' && this.settling < this.options.settleWindow) this.openPulls();
    if (this.handOver.busy && this.rests) this.handOver.rests();
  }

  private get rests(): boolean {
    return this.fetching && this.running + this.waiting === 0;
  }

  private nextLane(): number {
    const { gate, slots, turns } = this;
    return turns.next(this.connection.state === 'connected', (i) => gate === undefined || gate.laneFree(i, slots, turns.owed) > 0);
  }

  /** What slots were kept for, and has come meanwhile. */
  private startKept(): void {
    this.turns.refresh();
    for (let i = 0; i < this.lanes.length; i++) {
      while (this.lanes[i]!.buffered > 0 && this.running < this.slots && this.mayStart() && this.turns.pay(i)) this.startNext(i);
    }
  }

  private startNext(index: number): void {
    const task = this.take(index);
    if (this.gate === undefined || this.passes(this.gate, task)) this.startTask(task);
  }

  private startTask(task: HeldTask): void {
    this.running++;
    this.handOver.busy = true;
    task.slot = 'running';
    this.hooks.run(task);
  }

  private openPulls(): void {
    const lanes = this.lanes.map(({ puller, pending, buffered }) => ({ buffered, open: puller.open, pending }));
    const { slots, running, gate } = this;
    const now = performance.now();
    const limits = gate ? { parked: gate.parked, startable: this.startable(gate, now) } : undefined;
    const state = { slots, running, surplus: surplusFor(slots, this.runMs), ...limits, lanes };
    const asks = planPulls(state, this.options.mode, this.options.weights);
    for (let i = 0; i < asks.length; i++) {
      const { puller, pending, pausedUntil } = this.lanes[i]!;
      if (asks[i]! > 0 && now >= pausedUntil) puller.pull(asks[i]!, pending > 0 && asks[i]! > PULL_SURPLUS ? 'now' : 'wait');
    }
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

  private take(index: number): HeldTask {
    this.waiting--;
    return this.lanes[index]!.take();
  }

  private startable(gate: Gate, now: number): number[] {
    const most = gate.startable(now);
    return this.lanes.map((_, i) => Math.min(most, gate.laneFree(i, this.slots, this.turns.owed)));
  }

  /** What could run here now if nothing held it back. */
  private wants(): number {
    return Math.min(this.slots, this.running + this.waiting + this.lanes.reduce((sum, { pending }) => sum + pending, 0));
  }

  wake(): void {
    this.schedule();
  }

  unpark(tasks: readonly HeldTask[]): void {
    for (const task of tasks) {
      this.lanes[LANES.indexOf(task.lane)]!.putFront(task);
      this.waiting++;
    }
    if (tasks.length > 0) this.schedule();
  }

  putAway(tasks: readonly HeldTask[]): void {
    for (const task of tasks) this.leave(task, this.hooks.putAway(task, this.gate!.away(task, performance.now(), this.runMs)));
  }

  private handBack(lane: number): void {
    const task = this.take(lane);
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
