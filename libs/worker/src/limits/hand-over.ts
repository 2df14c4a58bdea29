import { type Connection, consumerState } from '@jetlane/jetstream';
import type { LaneState } from '../lane-state.js';

/** How long a task may wait here for a slot before others are asked, in ms. */
const PATIENCE_MS = 20;
const FIRST_PAUSE_MS = 25;
const LONGEST_PAUSE_MS = 250;
/** How long a task may wait for a limit that lets nothing start here, in ms: shares move within three seconds. */
const LIMITED_MS = 3000;
/** How long a worker must have had nothing to do before it says so, in ms: between two tasks is no rest. */
const REST_MS = 10;

export interface HandOverParts {
  readonly connection: Connection;
  readonly queue: string;
  readonly lanes: readonly LaneState[];
  /** True when a limit lets nothing start here. */
  readonly limited: () => boolean;
  /** True while this worker has nothing to do. */
  readonly rests: () => boolean;
  /** Hands back the first waiting task of a lane. */
  readonly handBack: (lane: number) => void;
}

/**
 * Hands back tasks that wait here while another worker stands idle. A pull that was promised to an idle lane cannot be recalled, so
 * a worker may get more than it has slots for; when its handlers are slow, the surplus would wait for them.
 * The server knows who stands idle: whose pull on the lane is open. It is asked only while something waits for too long, less and less
 * often since answers are dear, and at once when a worker says that it has nothing to do.
 */
export class HandOver {
  private timer: NodeJS.Timeout | undefined;
  private pause = FIRST_PAUSE_MS;
  private watching = false;
  /** Rises at every start: a look of an earlier one that ends late goes on no further. */
  private round = 0;

  /** This worker has run something since it last said that it has nothing to do, or never said so. */
  busy = true;
  private restTimer: NodeJS.Timeout | undefined;
  private stopListening: (() => void) | undefined;

  constructor(private readonly parts: HandOverParts) {}

  /** This worker has nothing to do, and its pulls are open: those that have too much are told, if it stays so. */
  rests(): void {
    this.restTimer ??= setTimeout(() => {
      this.restTimer = undefined;
      const { connection, queue, rests } = this.parts;
      if (!rests()) return;
      this.busy = false;
      connection.send(connection.names.idle(queue));
    }, REST_MS);
  }

  /** The worker stops: it says and does nothing more. */
  close(): void {
    clearTimeout(this.restTimer);
    this.stop();
  }

  /** Something waits. */
  watch(): void {
    if (this.watching) return;
    this.watching = true;
    this.round++;
    this.pause = FIRST_PAUSE_MS;
    this.arm(PATIENCE_MS);
  }

  /** Nothing waits any more. */
  stop(): void {
    this.watching = false;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.stopListening?.();
    this.stopListening = undefined;
  }

  private arm(ms: number): void {
    this.timer = setTimeout(() => void this.look(), ms);
  }

  /** Somebody has nothing to do. A look that is under way may have missed him, so the next one comes soon. */
  private heardOfRest(): void {
    this.pause = FIRST_PAUSE_MS;
    if (this.timer === undefined) return;
    clearTimeout(this.timer);
    void this.look();
  }

  private listen(): void {
    const { connection, queue } = this.parts;
    this.stopListening ??= connection.subscribe(connection.names.idle(queue), () => this.heardOfRest());
  }

  private async look(): Promise<void> {
    this.timer = undefined;
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
    if (old.length === 0 || wanted.includes(true)) this.pause = FIRST_PAUSE_MS;
    this.arm(this.pause);
    this.pause = Math.min(LONGEST_PAUSE_MS, this.pause * 2);
    if (old.length > 0) this.listen();
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
