import { type Connection, type Delivery, MISSED_HEARTBEATS, type PullEnd, type Puller } from '@jetlane/jetstream';
import { LANES, type Lane, type LanePicker, PULL_SURPLUS, planPulls, strictPicker, weightedPicker } from '@jetlane/protocol';
import { HeldTask } from './held-task.js';
import type { LeaseKeeper } from './lease-keeper.js';
import type { CompiledOptions } from './options.js';
import { within } from './within.js';

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1000;
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

  /** Tasks that wait for a slot. */
  get waiting(): number {
    return this.buffered.reduce((sum, count) => sum + count, 0);
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
    if (this.connection.state === 'connected') await within(DRAIN_MS, Promise.all(this.lanes.map(({ puller }) => puller.drain())));
    this.stopped = true;
    const left = this.lanes.flatMap((state) => state.buffer.slice(state.head));
    for (const state of this.lanes) {
      state.puller.stop();
      state.buffer = [];
      state.head = 0;
    }
    this.buffered.fill(0);
    return left;
  }

  /** Per lane: buffered, asked for, last known backlog, and why the last pull was refused. */
  snapshot() {
    return this.lanes.map(({ lane, puller, pending, refusals, lastEnd }, i) => ({
      lane,
      buffered: this.buffered[i]!,
      open: puller.open,
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
    });
    return { lane, puller, buffer: [], head: 0, pending: 0, pausedUntil: 0, refusals: 0, lastEnd: undefined, wake: undefined };
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
    this.buffered[index]!++;
    this.schedule();
  }

  /** 404 and 408 are the ordinary ends of a pull; anything else means that the consumer moved, went or fell silent. */
  private ended(index: number, end: PullEnd): void {
    const state = this.lanes[index]!;
    state.lastEnd = end;
    state.pending = 0;
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
    while (this.running < this.options.slots && this.settling < this.options.settleWindow) {
      const index = this.picker.next(this.buffered);
      if (index < 0) break;
      this.startTask(this.take(index));
    }
    if (this.connection.state === 'connected' && this.settling < this.options.settleWindow) this.openPulls();
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
