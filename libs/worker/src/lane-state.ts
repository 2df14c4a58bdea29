import type { PullEnd, Puller } from '@jetlane/jetstream';
import type { Lane } from '@jetlane/protocol';
import type { HeldTask } from './held-task.js';

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1000;

/** One lane as the fetch loop sees it: its pulls, and the tasks that wait for a slot, oldest first. */
export class LaneState {
  /** Tasks behind the last delivered one. */
  pending = 0;
  /** Pulls are not opened before this time (`performance.now()`), after one was refused. */
  pausedUntil = 0;
  refusals = 0;
  /** It delivered something since the last look at what is held. */
  brought = false;
  lastEnd: PullEnd | undefined;
  /** Looks again when the pause is over. */
  wake: NodeJS.Timeout | undefined;
  private buffer: HeldTask[] = [];
  private head = 0;

  constructor(
    readonly lane: Lane,
    readonly puller: Puller,
  ) {}

  /** Tasks that wait for a slot. */
  get buffered(): number {
    return this.buffer.length - this.head;
  }

  /** When the first waiting task came, ms since 1970; Infinity when none waits. */
  get oldest(): number {
    return this.buffer[this.head]?.fetchedAt ?? Number.POSITIVE_INFINITY;
  }

  /** A pull was refused: the next one waits. @returns the pause, in ms; with its jitter it may be half as long again */
  pause(now: number): number {
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(this.refusals++, 5));
    this.pausedUntil = now + pause * (0.5 + Math.random());
    return pause;
  }

  /** Pulls anew, on the link of this epoch. */
  start(epoch: number): void {
    this.puller.start(epoch);
    this.pausedUntil = 0;
  }

  /** Throws away what was asked for; what is under way is still delivered. */
  rebuild(): void {
    this.puller.rebuild();
    this.pausedUntil = 0;
  }

  /** The server says that the pull is alive. */
  heard(): void {
    this.refusals = 0;
  }

  /** A delivery has come. */
  brings(task: HeldTask): void {
    this.buffer.push(task);
    this.pending = task.delivery.pending;
    this.refusals = 0;
    this.brought = true;
  }

  /** A task that had its turn before goes first. */
  putFront(task: HeldTask): void {
    if (this.head > 0) this.buffer[--this.head] = task;
    else this.buffer.unshift(task);
  }

  /** The first waiting task; there must be one. */
  take(): HeldTask {
    const task = this.buffer[this.head++]!;
    if (this.head === this.buffer.length) {
      this.buffer = [];
      this.head = 0;
    }
    return task;
  }

  takeAll(): HeldTask[] {
    const left = this.buffer.slice(this.head);
    this.buffer = [];
    this.head = 0;
    return left;
  }

  /** Buffered, asked for, delivered so far, last known backlog, and why the last pull was refused. */
  snapshot() {
    const { lane, puller, pending, refusals, lastEnd } = this;
    return {
      lane,
      buffered: this.buffered,
      open: puller.open,
      delivered: puller.delivered,
      pending,
      ...(refusals > 0 && lastEnd ? { refused: `${lastEnd.code} ${lastEnd.text}` } : {}),
    };
  }
}
