import { type Connection, type Delivery, MISSED_HEARTBEATS, type PullEnd, type Puller } from '@jetlane/jetstream';
import { LANES, type Lane, type LanePicker, PULL_SURPLUS, planPulls, strictPicker, weightedPicker } from '@jetlane/protocol';
import { HeldTask } from './held-task.js';
import type { LeaseKeeper } from './lease-keeper.js';
import type { CompiledOptions } from './options.js';
import { within } from './within.js';

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1000;
/** Longest time for which a slot is kept for a lane whose pull is under way; a pull takes 0.3 to 3 ms. */
const HOLD_MS = 20;
/** How long the server may take to confirm that it sends nothing more. */
const DRAIN_MS = 1000;

/** One lane as the loop sees it. */
interface LaneState {
  readonly lane: Lane;
  readonly puller: Puller;
  buffer: HeldTask[];
  head: number;
  /** Tasks behind the last delivered one. */
  pending: number;
  /** Pulls are not opened before this time (`performance.now()`), after one was refused. */
  pausedUntil: number;
  refusals: number;
  /** It delivered something since the last look at what is held. */
  brought: boolean;
  lastEnd: PullEnd | undefined;
  /** Looks again when the pause is over. */
  wake: NodeJS.Timeout | undefined;
}

export interface FetchLoopHooks {
  /** Runs one task from start to settlement; tells the loop by `ran` and `done`, whatever comes of it; must not throw. */
  readonly run: (task: HeldTask) => void;
  /** The lane's consumer or stream does not answer. */
  readonly missing: (lane: Lane) => void;
}

/**
 * Keeps the slots busy: opens pulls for free slots (see `planPulls`), buffers what comes in, and starts the next task by
 * lane order whenever a slot is free. Running + buffered + asked for never exceeds slots + 8 × (lanes − 1).
 */
export class FetchLoop {
  running = 0;
  /** Runs that have ended and are not settled yet. */
  settling = 0;
  private readonly lanes: LaneState[];
  private readonly buffered = LANES.map(() => 0);
  /** Tasks that wait for a slot. */
  private waiting = 0;
  /** Slots kept for tasks that are on their way, per lane: the lane is next and has a backlog, but nothing of it is here. */
  private readonly owed = LANES.map(() => 0);
  private readonly known = LANES.map(() => 0);
  private holdTimer: NodeJS.Timeout | undefined;
  private readonly picker: LanePicker;
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
    this.picker = options.mode === 'strict' ? strictPicker : weightedPicker(options.weights);
    this.lanes = LANES.map((lane, index) => this.openLane(lane, index));
  }

  /** Starts pulling; also after a reconnect, on fresh inboxes. */
  start(): void {
    this.fetching = true;
    for (const state of this.lanes) {
      state.puller.start(this.connection.epoch);
      state.pausedUntil = 0;
    }
    this.turn();
  }

  /** Stops pulling. @returns what never ran: the buffer, and what was under way when the server was told */
  async stop(): Promise<HeldTask[]> {
    this.fetching = false;
    for (const { wake } of this.lanes) clearTimeout(wake);
    clearTimeout(this.holdTimer);
    if (this.connection.state === 'connected') await within(DRAIN_MS, Promise.all(this.lanes.map(({ puller }) => puller.drain())));
    this.stopped = true;
    const left = this.lanes.flatMap((state) => state.buffer.slice(state.head));
    for (const state of this.lanes) {
      state.puller.stop();
      state.buffer = [];
      state.head = 0;
    }
    this.buffered.fill(0);
    this.waiting = 0;
    return left;
  }

  /** Throws away what a lane asked for and asks anew; what was under way is still delivered. */
  rebuild(lane: Lane): void {
    const state = this.lanes.find((other) => other.lane === lane)!;
    state.puller.rebuild();
    state.pausedUntil = 0;
    this.schedule();
  }

  /** Per lane: buffered, asked for, delivered so far, last known backlog, and why the last pull was refused. */
  snapshot() {
    return this.lanes.map(({ lane, puller, pending, refusals, lastEnd }, i) => ({
      lane,
      buffered: this.buffered[i]!,
      open: puller.open,
      delivered: puller.delivered,
      pending,
      ...(refusals > 0 && lastEnd ? { refused: `${lastEnd.code} ${lastEnd.text}` } : {}),
    }));
  }

  private openLane(lane: Lane, index: number): LaneState {
    const { stream, consumer } = this.connection.names.lane(this.options.queue, lane);
    const puller = this.connection.puller({
      stream,
      consumer,
      onDelivery: (delivery) => this.delivered(index, delivery),
      onEnd: (end) => this.ended(index, end),
      onIdle: () => {
        this.lanes[index]!.refusals = 0;
      },
    });
    return {
      lane,
      puller,
      buffer: [],
      head: 0,
      pending: 0,
      pausedUntil: 0,
      refusals: 0,
      brought: false,
      lastEnd: undefined,
      wake: undefined,
    };
  }

  private delivered(index: number, delivery: Delivery): void {
    if (this.stopped) {
      // The drain had to be cut short: whoever comes late goes back at once.
      this.connection.nak(delivery);
      return;
    }
    const state = this.lanes[index]!;
    const task = new HeldTask(this.options.queue, state.lane, delivery, Date.now(), this.leases.arrival());
    this.leases.add(task);
    state.buffer.push(task);
    state.pending = delivery.pending;
    state.refusals = 0;
    state.brought = true;
    this.buffered[index]!++;
    this.waiting++;
    this.schedule();
  }

  /** 404 and 408 are the ordinary ends of a pull; anything else means that the consumer moved, went or fell silent. */
  private ended(index: number, end: PullEnd): void {
    const state = this.lanes[index]!;
    state.lastEnd = end;
    this.forgetBacklog(index);
    if (end.code === 404 || end.code === 408) state.refusals = 0;
    else this.refused(state, end);
    this.schedule();
  }

  private refused(state: LaneState, end: PullEnd): void {
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(state.refusals++, 5));
    state.pausedUntil = performance.now() + pause * (0.5 + Math.random());
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
    this.startOwed();
    while (this.waiting > 0 && this.running + this.reserved < this.options.slots && this.settling < this.options.settleWindow) {
      const index = this.nextLane();
      if (this.buffered[index]! > 0) this.startTask(this.take(index));
      else this.hold(index);
    }
    if (this.connection.state === 'connected' && this.settling < this.options.settleWindow) this.openPulls();
  }

  /** The lane that is next: the backlog that a lane has on the server counts as much as what it has here. */
  private nextLane(): number {
    const connected = this.connection.state === 'connected';
    for (let i = 0; i < this.lanes.length; i++) {
      const { pending, refusals } = this.lanes[i]!;
      const reachable = connected && refusals === 0 ? pending - this.owed[i]! : 0;
      this.known[i] = this.buffered[i]! + Math.max(0, reachable);
    }
    return this.picker.next(this.known);
  }

  private get reserved(): number {
    return this.owed[0]! + this.owed[1]! + this.owed[2]! + this.owed[3]!;
  }

  /**
   * Keeps a slot for a lane whose turn it is, for the time of one pull. Without that the surplus of the other lanes would
   * fill every slot that gets free, and a worker of few slots would serve all lanes alike.
   */
  private hold(index: number): void {
    this.owed[index]!++;
    this.holdTimer ??= setTimeout(() => this.lookAtHeld(), HOLD_MS);
  }

  /** A lane that brought nothing all the while has no backlog for us: others have taken it, or the lane is paused. */
  private lookAtHeld(): void {
    this.holdTimer = undefined;
    for (let i = 0; i < this.lanes.length; i++) {
      const state = this.lanes[i]!;
      if (this.owed[i]! > 0 && !state.brought) this.forgetBacklog(i);
      state.brought = false;
    }
    if (this.reserved > 0) this.holdTimer = setTimeout(() => this.lookAtHeld(), HOLD_MS);
    this.turn();
  }

  /** In mode `strict` nothing is owed for longer than a look: a higher lane that has brought tasks meanwhile goes first. */
  private startOwed(): void {
    if (this.options.mode === 'strict') this.owed.fill(0);
    for (let i = 0; i < this.owed.length; i++) {
      while (this.owed[i]! > 0 && this.buffered[i]! > 0 && this.running < this.options.slots) {
        this.owed[i]!--;
        this.startTask(this.take(i));
      }
    }
  }

  private forgetBacklog(index: number): void {
    this.lanes[index]!.pending = 0;
    this.owed[index] = 0;
  }

  /** The handler of a task has ended: its slot is free. */
  ran(task: HeldTask): void {
    if (task.slot !== 'running') return;
    task.slot = 'settling';
    this.running--;
    this.settling++;
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

  private startTask(task: HeldTask): void {
    this.running++;
    task.slot = 'running';
    this.hooks.run(task);
  }

  private take(index: number): HeldTask {
    const state = this.lanes[index]!;
    const task = state.buffer[state.head++]!;
    this.buffered[index]!--;
    this.waiting--;
    if (state.head === state.buffer.length) {
      state.buffer = [];
      state.head = 0;
    }
    return task;
  }

  private openPulls(): void {
    const lanes = this.lanes.map(({ puller, pending }, i) => ({ buffered: this.buffered[i]!, open: puller.open, pending }));
    const asks = planPulls({ slots: this.options.slots, running: this.running, lanes }, this.options.mode, this.options.weights);
    const now = performance.now();
    for (let i = 0; i < asks.length; i++) {
      const { puller, pending, pausedUntil } = this.lanes[i]!;
      if (asks[i]! > 0 && now >= pausedUntil) puller.pull(asks[i]!, pending > 0 && asks[i]! > PULL_SURPLUS ? 'now' : 'wait');
    }
  }
}
