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
