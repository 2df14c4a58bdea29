const UNIT_MS = 0.01;
/** Each bucket is 6 % wider than the one before: 400 reach beyond six hours. */
const STEP = Math.log(1.06);

/** A distribution of times: percentiles within 6 %, from 10 µs on. */
export class Times {
  private readonly counts = new Float64Array(400);
  private total = 0;

  record(ms: number, count = 1): void {
    const bucket = Math.ceil(Math.log1p(Math.max(0, ms) / UNIT_MS) / STEP);
    this.counts[Math.min(bucket, this.counts.length - 1)]! += count;
    this.total += count;
  }

  /** Milliseconds; 0 when nothing was recorded. */
  summary() {
    return { p50: this.percentile(0.5), p95: this.percentile(0.95), p99: this.percentile(0.99), max: this.percentile(1) };
  }

  private percentile(share: number): number {
    let bucket = 0;
    for (let left = Math.ceil(this.total * share); left > this.counts[bucket]!; bucket++) left -= this.counts[bucket]!;
    return Math.expm1(bucket * STEP) * UNIT_MS;
  }
}
