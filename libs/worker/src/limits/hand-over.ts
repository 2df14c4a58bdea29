import { type Connection, consumerState } from '@jetlane/jetstream';
import type { LaneState } from '../lane-state.js';

/** How long a task may wait here for a slot before others are asked, in ms. */
const PATIENCE_MS = 20;
const FIRST_PAUSE_MS = 25;
const LONGEST_PAUSE_MS = 250;
/** How long a task may wait for a limit that lets nothing start here, in ms: shares move within three seconds. */
const LIMITED_MS = 3000;

export interface HandOverParts {
  readonly connection: Connection;
  readonly queue: string;
  readonly lanes: readonly LaneState[];
  /** True when a limit lets nothing start here. */
  readonly limited: () => boolean;
  /** Hands back the first waiting task of a lane. */
  readonly handBack: (lane: number) => void;
}

/**
 * Hands back tasks that wait here while another worker stands idle. A pull that was promised to an idle lane cannot be recalled, so
 * a worker may get more than it has slots for; when its handlers are slow, the surplus would wait for them.
 * The server knows who stands idle: whose pull on the lane is open. It is asked only while something waits for too long.
 */
export class HandOver {
  private timer: NodeJS.Timeout | undefined;
  private pause = FIRST_PAUSE_MS;
  private watching = false;
  /** Rises at every start: a look of an earlier one that ends late goes on no further. */
  private round = 0;

  constructor(private readonly parts: HandOverParts) {}

  /** Something waits. */
  watch(): void {
    if (this.watching) return;
    this.watching = true;
    this.round++;
    this.pause = FIRST_PAUSE_MS;
    this.arm(PATIENCE_MS);
  }

  stop(): void {
    this.watching = false;
    clearTimeout(this.timer);
  }

  private arm(ms: number): void {
    this.timer = setTimeout(() => void this.look(), ms);
  }

  private async look(): Promise<void> {
    const { lanes, limited } = this.parts;
    const { round } = this;
    const before = Date.now() - PATIENCE_MS;
    if (limited()) lanes.forEach((_, i) => void this.handBack(i, before - LIMITED_MS));
    const old = lanes.map((_, i) => i).filter((i) => lanes[i]!.oldest < before);
    const wanted = await Promise.all(old.map((i) => this.wanted(lanes[i]!)));
    if (!this.watching || round !== this.round) return;
    old.forEach((i, k) => {
      if (wanted[k]) this.handBack(i, before);
    });
    if (lanes.every(({ buffered }) => buffered === 0)) return this.stop();
    this.pause = old.length === 0 || wanted.includes(true) ? FIRST_PAUSE_MS : Math.min(LONGEST_PAUSE_MS, this.pause * 2);
    this.arm(this.pause);
  }

  /** Somebody else waits for tasks of the lane. */
  private async wanted({ lane, puller }: LaneState): Promise<boolean> {
    const { connection, queue } = this.parts;
    const { stream, consumer } = connection.names.lane(queue, lane);
    const before = puller.pulls;
    const state = await consumerState(connection, stream, consumer).catch(() => undefined);
    // The server looked somewhere in between: an own pull that was filled meanwhile is not somebody else's.
    return state !== undefined && state.openPulls > Math.max(before, puller.pulls);
  }

  private handBack(lane: number, arrivedBefore: number): void {
    while (this.parts.lanes[lane]!.oldest < arrivedBefore) this.parts.handBack(lane);
  }
}
