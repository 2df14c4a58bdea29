import { type CountedOutcome, OUTCOMES } from '@jetlane/protocol';

/** Counts by outcome that are added up. */
export type Counts = Record<CountedOutcome, number>;

export type SomeCounts = Readonly<Partial<Record<CountedOutcome, number>>>;

export const noCounts = (): Counts => ({ completed: 0, retry: 0, dead: 0, cancelled: 0, interrupted: 0, duplicate: 0 });

/** Adds counts to a sum. */
export function addCounts(sum: Counts, counts: SomeCounts): void {
  for (const outcome of OUTCOMES) sum[outcome] += counts[outcome] ?? 0;
}

/** What the later counts have more than the earlier ones; never negative. */
export function growth(later: SomeCounts, earlier: SomeCounts = {}): Counts {
  const grown = noCounts();
  for (const outcome of OUTCOMES) grown[outcome] = Math.max(0, (later[outcome] ?? 0) - (earlier[outcome] ?? 0));
  return grown;
}
