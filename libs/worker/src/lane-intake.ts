import { type Connection, type Delivery, MISSED_HEARTBEATS, type PullEnd } from '@jetlane/jetstream';
import { LANES, type Lane, PULL_SURPLUS } from '@jetlane/protocol';
import { HeldTask } from './held-task.js';
import { LaneState } from './lane-state.js';
import type { LeaseKeeper } from './lease-keeper.js';
import type { CompiledOptions } from './options.js';
import { within } from './within.js';

/** How long the server may take to confirm that it sends nothing more. */
const DRAIN_MS = 1000;

export interface IntakeHooks {
  /** Something has come, or a pull has ended. */
  readonly changed: () => void;
  /** The server has nothing more of a lane for us. */
  readonly exhausted: (index: number) => void;
  /** The lane's consumer or stream does not answer. */
  readonly missing: (lane: Lane) => void;
}

/** The pulls of all lanes of a queue, and what they brought that waits for a slot. */
export class LaneIntake {
  readonly lanes: readonly LaneState[];
  /** Tasks that wait for a slot. */
  waiting = 0;
  private closed = false;

  constructor(
    private readonly connection: Connection,
    private readonly options: CompiledOptions,
    private readonly leases: LeaseKeeper,
    private readonly hooks: IntakeHooks,
  ) {
    this.lanes = LANES.map((lane, index) => this.openLane(lane, index));
  }

  /** Also after a reconnect, on fresh inboxes. */
  start(): void {
    for (const state of this.lanes) state.start(this.connection.epoch);
  }

  /** @param asks how many tasks to ask each lane for */
  pull(asks: readonly number[], now: number): void {
    for (let i = 0; i < asks.length; i++) {
      const { puller, pending, pausedUntil } = this.lanes[i]!;
      if (asks[i]! > 0 && now >= pausedUntil) puller.pull(asks[i]!, pending > 0 && asks[i]! > PULL_SURPLUS ? 'now' : 'wait');
    }
  }

  /** The first waiting task of a lane; there must be one. */
  take(index: number): HeldTask {
    this.waiting--;
    return this.lanes[index]!.take();
  }

  /** A task that had its turn before goes first. */
  putFront(task: HeldTask): void {
    this.lanes[LANES.indexOf(task.lane)]!.putFront(task);
    this.waiting++;
  }

  /** Throws away what a lane asked for and asks anew; what was under way is still delivered. */
  rebuild(lane: Lane): void {
    this.lanes.find((state) => state.lane === lane)!.rebuild();
  }

  /** Per lane: buffered, asked for, delivered so far, last known backlog, and why the last pull was refused. */
  snapshot() {
    return this.lanes.map((state) => state.snapshot());
  }

  /** Asks for nothing more. @returns what waits, and what was under way when the server was told */
  async close(): Promise<HeldTask[]> {
    for (const { wake } of this.lanes) clearTimeout(wake);
    if (this.connection.state === 'connected') await within(DRAIN_MS, Promise.all(this.lanes.map(({ puller }) => puller.drain())));
    this.closed = true;
    for (const { puller } of this.lanes) puller.stop();
    this.waiting = 0;
    return this.lanes.flatMap((state) => state.takeAll());
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
    if (this.closed) return void this.connection.nak(delivery);
    const state = this.lanes[index]!;
    const task = new HeldTask(this.options.queue, state.lane, delivery, Date.now(), this.leases.arrival());
    this.leases.add(task);
    state.brings(task);
    this.waiting++;
    this.hooks.changed();
  }

  /** 404 and 408 are the ordinary ends of a pull; anything else means that the consumer moved, went or fell silent. */
  private ended(index: number, end: PullEnd): void {
    const state = this.lanes[index]!;
    state.lastEnd = end;
    this.hooks.exhausted(index);
    if (end.code === 404 || end.code === 408) state.refusals = 0;
    else this.refused(state, end);
    this.hooks.changed();
  }

  private refused(state: LaneState, end: PullEnd): void {
    const pause = state.pause(performance.now());
    this.options.log.warn({ queue: this.options.queue, lane: state.lane, code: end.code, reason: end.text }, 'pull:refused');
    if (end.code === 503 || end.code === MISSED_HEARTBEATS || /deleted|not found/i.test(end.text)) this.hooks.missing(state.lane);
    clearTimeout(state.wake);
    state.wake = setTimeout(this.hooks.changed, pause * 1.5 + 1);
  }
}
