import { z } from 'zod';
import { durationSchema, toMs } from './duration.js';

const DAY_MS = 86_400_000;
/** Slowest rate of a group, as the time between two tasks: whoever started one keeps the group until the next could start. */
const SLOWEST_GROUP_MS = 60_000;
const concurrency = z.int().min(1).max(1_000_000).optional();

/** Schema of a rate as people write it. */
export const rateSchema = z.strictObject({
  count: z.int().min(1).max(1_000_000).describe('Tasks that may start in each span of time.'),
  per: durationSchema(1, DAY_MS).optional().describe('The span of time. Default 1s.'),
});

/** So many starts in each span of time, spread evenly: `{count: 100, per: '1m'}` is one start every 600 ms. */
export type Rate = z.infer<typeof rateSchema>;

const groupRate = rateSchema.refine(isQuick, 'expected a rate of at least one task per minute');

/** Schema of the limits of a queue, which all its workers keep together. */
export const limitsSchema = z.strictObject({
  concurrency: concurrency.describe('Handlers of the queue that may run at once, over all workers. Default: no limit.'),
  rate: rateSchema.optional().describe('Handlers of the queue that may start, over all workers. Default: no limit.'),
  group: z
    .strictObject({
      concurrency: concurrency.describe('Handlers of one group that may run at once, over all workers. Default: no limit.'),
      rate: groupRate.optional().describe('Handlers of one group that may start, over all workers; at least one per minute.'),
    })
    .optional()
    .describe('Limits of each group by itself. Tasks without a group have none.'),
});

/** Limits of a queue. */
export type Limits = z.infer<typeof limitsSchema>;

/** A span of time that cannot be read is reported by its own field. */
function isQuick(rate: Rate): boolean {
  return !rateSchema.safeParse(rate).success || 1 / perMs(rate) <= SLOWEST_GROUP_MS;
}

/** Starts per millisecond of a rate. @throws JetlaneError `invalid-argument` when `per` cannot be read */
export function perMs(rate: Rate): number {
  return rate.count / toMs(rate.per ?? 1000, 'rate.per');
}

/** Starts that a rate may save up: a quarter of a second's worth, and always one, since there are no halves. */
const burstOf = (rate: number): number => Math.max(1, rate * 250);
/** Sums of parts of one are not exact. */
const EPSILON = 1e-9;

/**
 * Tokens that come at a steady rate and are taken one per start. It begins empty, saves up a quarter of a second's worth or one
 * token, whichever is more, and counts what it had no room for. In any span of T ms it gives at most rate × T + what it saved.
 * All times are readings of one monotonic clock.
 */
export class TokenBucket {
  /** Tokens that were never used, since the beginning: there was no room for them. */
  overflow = 0;

  /** @param current tokens per ms */
  constructor(
    private current: number,
    private at: number,
    private level = 0,
  ) {}

  /** Tokens per ms. */
  get rate(): number {
    return this.current;
  }

  /** Another rate from now on. What does not fit into the new bucket is overflow. */
  setRate(rate: number, now: number): void {
    if (rate === this.current) return;
    this.refill(now);
    this.current = rate;
    const kept = Math.min(this.level, burstOf(rate));
    this.overflow += this.level - kept;
    this.level = kept;
  }

  /** Puts tokens in that others did not use; they may lie above the brim. */
  add(tokens: number): void {
    this.level += tokens;
  }

  /** Tokens that are here, or will be in some ms if none is taken. */
  available(now: number, aheadMs = 0): number {
    this.refill(now);
    return Math.floor(this.level + this.rate * aheadMs + EPSILON);
  }

  /** Takes one; the caller has seen that there is one. */
  take(): void {
    this.level -= 1;
  }

  /** Time until there is a token, in ms; 0 when there is one, Infinity when none will come. */
  waitMs(now: number): number {
    this.refill(now);
    if (this.level + EPSILON >= 1) return 0;
    return this.rate > 0 ? (1 - this.level) / this.rate : Number.POSITIVE_INFINITY;
  }

  /** True when it has saved up all it can: nobody can tell it from a new one. */
  full(now: number): boolean {
    this.refill(now);
    return this.level + EPSILON >= burstOf(this.rate);
  }

  private refill(now: number): void {
    const gained = Math.max(0, now - this.at) * this.rate;
    this.at = Math.max(this.at, now);
    const room = Math.max(0, burstOf(this.rate) - this.level);
    this.level += Math.min(gained, room);
    this.overflow += Math.max(0, gained - room);
  }
}

/** One who wants a part of a limit. */
export interface Claimant {
  /** What it could use now. */
  readonly wants: number;
  /** What it has. Where not all can get one, who has one keeps it: moving shares about costs time. */
  readonly holds: number;
}

/** How a limit is dealt out. */
export interface Dealing {
  readonly total: number;
  /** In whole numbers. */
  readonly whole: boolean;
  /** What nobody wants is dealt out too, so that what comes next need not wait for a share. */
  readonly spread: boolean;
}

/**
 * The share of each claimant: nobody gets more than it wants while others want more (max-min fairness); what nobody wants is
 * dealt out evenly when `spread`. The sum is never above the total. The same claimants in the same order give the same shares.
 */
export function fairShares({ total, whole, spread }: Dealing, claimants: readonly Claimant[]): number[] {
  const wants = claimants.map((claimant) => (whole ? Math.ceil(claimant.wants) : claimant.wants));
  const shares = claimants.map(() => 0);
  let left = fill(shares, wants, total, whole);
  const open = claimants.map((_, i) => i).filter((i) => spread || wants[i]! > shares[i]!);
  if (open.length === 0 || left <= 0) return shares;
  if (!whole) {
    if (spread) for (const i of open) shares[i]! += left / open.length;
    return shares;
  }
  // Whole parts that cannot be dealt out evenly: first to those who still want one, then to those who have one.
  const hungry = (i: number): number => (wants[i]! > shares[i]! ? 1 : 0);
  const has = (i: number): number => (claimants[i]!.holds > shares[i]! ? 1 : 0);
  open.sort((a, b) => hungry(b) - hungry(a) || has(b) - has(a) || a - b);
  for (let k = 0; left > 0; k = (k + 1) % open.length, left--) {
    if (!spread && shares[open[k]!]! >= wants[open[k]!]!) break;
    shares[open[k]!]!++;
  }
  return shares;
}

/** Raises all shares evenly up to what each wants. @returns what is left */
function fill(shares: number[], wants: readonly number[], total: number, whole: boolean): number {
  let left = total;
  for (;;) {
    const open = shares.map((_, i) => i).filter((i) => wants[i]! > shares[i]!);
    const even = open.length === 0 ? 0 : whole ? Math.floor(left / open.length) : left / open.length;
    if (even <= 0) return left;
    let satisfied = false;
    for (const i of open) {
      const before = shares[i]!;
      const enough = before + even >= wants[i]!;
      satisfied ||= enough;
      shares[i] = enough ? wants[i]! : before + even;
      left -= shares[i]! - before;
    }
    if (!satisfied && !whole) return 0;
  }
}

/** The least time between two beginnings, for batches. Times are readings of one monotonic clock. */
export class MinGap {
  private next = Number.NEGATIVE_INFINITY;

  constructor(private gapMs: number) {}

  /** Time until the next may begin, in ms. */
  waitMs(now: number): number {
    return Math.max(0, this.next - now);
  }

  /** One begins. */
  begin(now: number): void {
    this.next = now + this.gapMs;
  }

  /** Another gap from now on; it holds for the one that waits already. */
  setGap(gapMs: number): void {
    this.next += gapMs - this.gapMs;
    this.gapMs = gapMs;
  }
}
