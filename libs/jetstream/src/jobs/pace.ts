/** Deals out permissions at a steady rate: what was not used is not saved up. */
export class Pace {
  private readonly startedAt = performance.now();
  private given = 0;

  constructor(private readonly perSecond: number) {}

  /** Most that may be done at once without a visible burst: a tenth of a second's worth. */
  get chunk(): number {
    return Math.max(1, Math.min(64, Math.floor(this.perSecond / 10)));
  }

  /** Ms to wait before the next `count` may begin. */
  next(count: number): number {
    const due = this.startedAt + (this.given / this.perSecond) * 1000;
    const now = performance.now();
    // Behind by more than a second: the time lost is gone, it is not caught up in a burst.
    if (now - due > 1000) this.given = ((now - this.startedAt) / 1000) * this.perSecond;
    this.given += count;
    return Math.max(0, due - now);
  }
}
