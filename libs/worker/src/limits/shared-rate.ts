import { perMs, type Rate, TokenBucket } from '@jetlane/protocol';
import type { SharedLimit, ShareKeeper } from './shares.js';

/** What a worker asks for beyond what it used, so that a little more work need not wait for a larger share. */
const HEADROOM = 1.25;
/** Demand is measured over at least this time, in ms. */
const PERIOD_MS = 500;
/** Part of a rate that a worker wants at least: a trickle by which it learns that there is work, or saves up a token. */
const LEAST = 0.1;
/** The trickle is never more than this, in starts per ms. */
const TRICKLE = 0.001;

/** A rate that all workers keep together: this one's part of it as a bucket of tokens. The whole rate counts as 1. */
export class SharedRate {
  readonly share: SharedLimit;
  private readonly bucket: TokenBucket;
  private starts = 0;
  private hungry = false;
  private measuredAt: number;
  private demand = 0;
  private rate: number;

  /**
   * @param spread what nobody uses is dealt out too
   * @param level tokens at the beginning
   */
  constructor(
    keeper: ShareKeeper,
    readonly id: string,
    rate: Rate,
    private readonly spread: boolean,
    level = 0,
    now = performance.now(),
  ) {
    this.rate = perMs(rate);
    this.measuredAt = now;
    this.bucket = new TokenBucket(0, now, level);
    this.share = keeper.add(id, 1, { whole: false, spread }, { wants: (at) => this.measure(at), inUse: () => 0 });
  }

  /** Starts that the share would have allowed and nobody needed. */
  get spare(): number {
    return this.bucket.overflow;
  }

  /** True when it saved up all it can. */
  full(now: number): boolean {
    return this.fresh(now).full(now);
  }

  /** The whole rate and this worker's part of it, in starts per second. */
  view(now: number): { limit: number; share: number } {
    const limit = this.rate * 1000;
    return { limit, share: limit * this.share.granted(now) };
  }

  setRate(rate: Rate): void {
    this.rate = perMs(rate);
  }

  /** Starts that others could have made and did not. */
  give(tokens: number): void {
    if (this.hungry) this.bucket.add(Math.min(tokens, this.rate * 1000));
  }

  available(now: number, aheadMs = 0): number {
    return this.fresh(now).available(now, aheadMs);
  }

  waitMs(now: number): number {
    return this.fresh(now).waitMs(now);
  }

  take(): void {
    this.bucket.take();
    this.starts++;
  }

  /** Something could start now but for this rate. */
  starve(): void {
    this.hungry = true;
  }

  /** The share may have changed, or run out, since the last look. */
  private fresh(now: number): TokenBucket {
    this.bucket.setRate(this.rate * this.share.granted(now), now);
    return this.bucket;
  }

  /** What this worker could use of the rate, as a part of it: all when it had to wait, else a little more than it used. */
  private measure(now: number): number {
    const elapsed = now - this.measuredAt;
    // A group's rate that has saved up all it can is given up.
    const least = this.spread || !this.full(now) ? Math.min(LEAST, TRICKLE / this.rate) : 0;
    if (elapsed < PERIOD_MS) return this.hungry ? 1 : Math.max(this.demand, least);
    const used = (this.starts * HEADROOM) / (elapsed * this.rate);
    this.demand = this.hungry ? 1 : Math.min(1, used);
    this.starts = 0;
    this.hungry = false;
    this.measuredAt = now;
    return Math.max(this.demand, least);
  }
}
