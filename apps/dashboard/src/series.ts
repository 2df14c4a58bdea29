import type { QueueView } from './api.js';

/** What a queue looked like at one poll. `rate` is unknown without analytics. */
export interface Sample {
  readonly at: number;
  readonly depth: number;
  readonly completed: number | undefined;
  readonly failed: number | undefined;
  readonly rate: number | undefined;
}

const KEPT = 120;
/** Rates of the page are taken over this many samples: quick to follow, not nervous. */
const RATE_SPAN = 5;

/** The last two minutes of one queue. */
export class Series {
  readonly samples: Sample[] = [];

  add(at: number, { depth, totals }: QueueView): void {
    const last = this.samples.at(-1);
    if (last && last.at >= at) return;
    const completed = totals?.completed;
    this.samples.push({ at, depth, completed, failed: totals?.failed, rate: this.rateOf('completed', at, completed) });
    if (this.samples.length > KEPT) this.samples.shift();
  }

  /** Finished tasks per second lately. */
  get rate(): number | undefined {
    return this.samples.at(-1)?.rate;
  }

  /** Dead tasks per second lately. */
  get failureRate(): number | undefined {
    const last = this.samples.at(-1);
    return last && this.rateOf('failed', last.at, last.failed);
  }

  private rateOf(field: 'completed' | 'failed', at: number, now: number | undefined): number | undefined {
    const past = this.samples.at(-RATE_SPAN) ?? this.samples[0];
    const before = past?.[field];
    if (now === undefined || before === undefined || !past || at <= past.at) return undefined;
    return Math.max(0, now - before) / ((at - past.at) / 1000);
  }
}
