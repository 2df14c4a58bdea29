/** Says how long the next batch must wait for the throttle and the rate limit. */
export class Gate {
  private lastStart = Number.NEGATIVE_INFINITY;
  /** Starts within the last interval, oldest first: time and items. */
  private readonly starts: { readonly at: number; readonly items: number }[] = [];
  private started = 0;

  constructor(
    private readonly throttleMs: number,
    private readonly rate: { readonly items: number; readonly intervalMs: number } | undefined,
  ) {}

  /** 0 when a batch of so many items may start now. */
  waitMs(now: number, items: number): number {
    const throttle = Math.max(0, this.lastStart + this.throttleMs - now);
    return this.rate ? Math.max(throttle, this.rateWait(now, items, this.rate)) : throttle;
  }

  start(now: number, items: number): void {
    this.lastStart = now;
    if (!this.rate) return;
    this.starts.push({ at: now, items });
    this.started += items;
  }

  private rateWait(now: number, items: number, rate: { readonly items: number; readonly intervalMs: number }): number {
    while (this.starts.length > 0 && this.starts[0]!.at + rate.intervalMs <= now) this.started -= this.starts.shift()!.items;
    let over = this.started + items - rate.items;
    for (const start of this.starts) {
      if (over <= 0) break;
      over -= start.items;
      if (over <= 0) return start.at + rate.intervalMs - now;
    }
    return 0;
  }
}
