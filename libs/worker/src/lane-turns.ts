import type { LanePicker } from '@jetlane/protocol';
import type { LaneState } from './lane-state.js';
import { livePicker } from './live-picker.js';
import type { CompiledOptions } from './options.js';

/** Longest time for which a slot is kept for a lane whose pull is under way; a pull takes 0.3 to 3 ms. */
const HOLD_MS = 20;

/**
 * Whose turn it is. The backlog that a lane has on the server counts as much as what it has here: a lane that is next keeps a slot for
 * the time of one pull. Without that the surplus of the other lanes would fill every slot that gets free, and a worker of few slots
 * would serve all lanes alike.
 */
export class LaneTurns {
  /** Slots kept for tasks that are on their way, per lane. */
  readonly owed: number[];
  private readonly known: number[];
  private readonly picker: LanePicker;
  private holdTimer: NodeJS.Timeout | undefined;

  /**
   * @param options whose mode and weights may change at any time
   * @param look told when the time of what is kept is over
   */
  constructor(
    private readonly lanes: readonly LaneState[],
    private readonly options: CompiledOptions,
    private readonly look: () => void,
  ) {
    this.owed = lanes.map(() => 0);
    this.known = lanes.map(() => 0);
    this.picker = livePicker(options);
  }

  /** Slots that are kept. */
  get kept(): number {
    let sum = 0;
    for (const count of this.owed) sum += count;
    return sum;
  }

  /**
   * @param connected the server's backlog is within reach
   * @param mayStart false for a lane that may not use any free slot
   * @returns the lane to serve, which may have nothing here yet (see {@link keep}), or -1
   */
  next(connected: boolean, mayStart: (lane: number) => boolean): number {
    for (let i = 0; i < this.lanes.length; i++) {
      const { pending, refusals, buffered } = this.lanes[i]!;
      const reachable = connected && refusals === 0 ? Math.max(0, pending - this.owed[i]!) : 0;
      this.known[i] = mayStart(i) ? buffered + reachable : 0;
    }
    return this.picker.next(this.known);
  }

  /** Keeps a slot for a lane. */
  keep(lane: number): void {
    this.owed[lane]!++;
    this.holdTimer ??= setTimeout(() => this.timeOver(), HOLD_MS);
  }

  /** True when the lane has a slot kept for it, which is then taken. */
  pay(lane: number): boolean {
    if (this.owed[lane] === 0) return false;
    this.owed[lane]!--;
    return true;
  }

  /** In mode `strict` nothing is owed for longer than a look: a higher lane that has brought tasks meanwhile goes first. */
  refresh(): void {
    if (this.options.mode === 'strict') this.owed.fill(0);
  }

  /** The server has nothing more of a lane. */
  forget(lane: number): void {
    this.lanes[lane]!.pending = 0;
    this.owed[lane] = 0;
  }

  stop(): void {
    clearTimeout(this.holdTimer);
  }

  /** A lane that brought nothing all the while has no backlog for us: others have taken it, or the lane is paused. */
  private timeOver(): void {
    this.holdTimer = undefined;
    for (let i = 0; i < this.lanes.length; i++) {
      const state = this.lanes[i]!;
      if (this.owed[i]! > 0 && !state.brought) this.forget(i);
      state.brought = false;
    }
    if (this.kept > 0) this.holdTimer = setTimeout(() => this.timeOver(), HOLD_MS);
    this.look();
  }
}
