const STEPS = 16;
const UNIT_MS = 0.01;

/** A distribution of times in 300 buckets: percentiles within 6 %, from 10 µs to six hours. */
export class Times {
  private readonly counts = new Float64Array(STEPS * 29);
  private total = 0;

  record(ms: number): void {
    this.counts[bucketOf(ms)]!++;
    this.total++;
  }

  /** @param share 0.5 is the median; 0 when nothing was recorded */
  percentile(share: number): number {
    let index = 0;
    for (let left = Math.ceil(this.total * share); left > this.counts[index]!; index++) left -= this.counts[index]!;
    return this.total === 0 ? 0 : upperEdge(index) * UNIT_MS;
  }

  /** Milliseconds. */
  summary() {
    return { p50: this.percentile(0.5), p95: this.percentile(0.95), p99: this.percentile(0.99), max: this.percentile(1) };
  }
}

function bucketOf(ms: number): number {
  const units = Math.min(ms / UNIT_MS, 2 ** 31 - 1) | 0;
  if (units < STEPS) return units > 0 ? units : 0;
  const power = 27 - Math.clz32(units);
  return STEPS * (power + 1) + ((units >> power) - STEPS);
}

function upperEdge(bucket: number): number {
  if (bucket < STEPS) return bucket + 1;
  const power = Math.floor(bucket / STEPS) - 1;
  return ((bucket % STEPS) + STEPS + 1) * 2 ** power;
}
