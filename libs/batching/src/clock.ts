/** Where the queue takes its time from; tests bring their own. */
export interface Clock {
  /** Milliseconds that only rise. */
  now(): number;
  /** Calls once after a delay; returns the way to call it off. */
  after(ms: number, call: () => void): () => void;
}

/** Longest delay of a timer in Node; a longer one would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, call) {
    const timer = setTimeout(call, Math.min(Math.ceil(ms), LONGEST_TIMER_MS));
    return () => clearTimeout(timer);
  },
};

/** One call at a time, at the earliest moment asked for. */
export class Alarm {
  private at = Number.POSITIVE_INFINITY;
  private off: (() => void) | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly call: () => void,
  ) {}

  in(ms: number): void {
    const at = this.clock.now() + ms;
    if (at >= this.at || ms === Number.POSITIVE_INFINITY) return;
    this.stop();
    this.at = at;
    this.off = this.clock.after(ms, () => {
      this.at = Number.POSITIVE_INFINITY;
      this.call();
    });
  }

  stop(): void {
    this.off?.();
    this.at = Number.POSITIVE_INFINITY;
  }
}
