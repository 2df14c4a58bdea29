/** At most so many of something in any span of so many ms. */
export class Gate {
  /** What passed within the last span, oldest first. */
  private readonly passed: { readonly at: number; readonly count: number }[] = [];

  constructor(
    private readonly most: number,
    private readonly spanMs: number,
  ) {}

  /** 0 when so many may pass now. */
  waitMs(now: number, count: number): number {
    while (this.passed.length > 0 && this.passed[0]!.at + this.spanMs <= now) this.passed.shift();
    let room = this.most - count;
    // From the newest back: the first that has no room any more must have left the span, and all before it.
    const first = this.passed.findLast((one) => {
      room -= one.count;
      return room < 0;
    });
    return first ? first.at + this.spanMs - now : 0;
  }

  pass(now: number, count: number): void {
    if (this.spanMs > 0) this.passed.push({ at: now, count });
  }
}

/** Of so many the percentiles are told. */
const RECENT = 10_000;

/** The times of the last 10,000. */
export class Times {
  private readonly recent = new Float64Array(RECENT);
  private count = 0;

  record(ms: number): void {
    this.recent[this.count++ % RECENT] = ms;
  }

  /** Milliseconds; 0 when nothing was recorded. */
  summary() {
    const sorted = this.recent.slice(0, this.count).sort();
    const below = (share: number) => sorted[Math.ceil(sorted.length * share) - 1] ?? 0;
    return { p50: below(0.5), p95: below(0.95), p99: below(0.99), max: below(1) };
  }
}
