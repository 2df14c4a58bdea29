import { Histogram, type PackedHistogram } from '@jetlane/telemetry';
import { addCounts, type Counts, noCounts } from './counts.js';

/** What a worker did more than at its last word. */
export interface Progress {
  readonly counts: Counts;
  readonly wait?: Histogram;
  readonly run?: Histogram;
}

/** One second of a lane. */
interface Second {
  readonly second: number;
  readonly counts: Counts;
  readonly wait: PackedHistogram;
  readonly run: PackedHistogram;
}

/** Counts and times in a window. */
export interface Recent {
  readonly counts: Counts;
  readonly wait: Histogram;
  readonly run: Histogram;
}

/**
 * A lane's totals, which only grow, and its last seconds. A second that is over is kept packed (some hundred bytes), so that
 * a minute of a lane costs kilobytes and the percentiles of the window are a sum of at most a minute's seconds.
 */
export class LaneSeries {
  readonly counts: Counts = noCounts();
  readonly wait = new Histogram();
  readonly run = new Histogram();
  private readonly past: Second[] = [];
  private second = 0;
  private readonly present: Recent = { counts: noCounts(), wait: new Histogram(), run: new Histogram() };

  constructor(private readonly windowSeconds: number) {}

  /** Adds to the totals only: what happened before anybody looked. */
  addTotal(progress: Progress): void {
    addCounts(this.counts, progress.counts);
    if (progress.wait) this.wait.add(progress.wait);
    if (progress.run) this.run.add(progress.run);
  }

  /** Adds to the totals and to the given second, which never goes back. */
  add(progress: Progress, second: number): void {
    this.addTotal(progress);
    this.turnTo(second);
    addCounts(this.present.counts, progress.counts);
    if (progress.wait) this.present.wait.add(progress.wait);
    if (progress.run) this.present.run.add(progress.run);
  }

  /** The sum of the last seconds, the given one included. */
  recent(second: number): Recent {
    this.turnTo(second);
    const sum: Recent = { counts: noCounts(), wait: new Histogram(), run: new Histogram() };
    for (const past of this.past) {
      addCounts(sum.counts, past.counts);
      sum.wait.addPacked(past.wait);
      sum.run.addPacked(past.run);
    }
    addCounts(sum.counts, this.present.counts);
    sum.wait.add(this.present.wait);
    sum.run.add(this.present.run);
    return sum;
  }

  private turnTo(second: number): void {
    if (second <= this.second) return;
    const { counts, wait, run } = this.present;
    if (Object.values(counts).some((count) => count > 0) || wait.count > 0 || run.count > 0) {
      this.past.push({ second: this.second, counts: { ...counts }, wait: wait.pack(), run: run.pack() });
      Object.assign(counts, noCounts());
      wait.clear();
      run.clear();
    }
    this.second = second;
    while (this.past.length > 0 && this.past[0]!.second <= second - this.windowSeconds) this.past.shift();
  }
}
