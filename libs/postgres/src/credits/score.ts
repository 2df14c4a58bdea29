/** What a score is computed from; all figures in credits but `purchases` and `recentPurchases`, which are counts. */
export interface ScoreFigures {
  readonly purchased: number;
  readonly used: number;
  readonly purchases: number;
  /** Purchases of the last 30 days. */
  readonly recentPurchases: number;
}

const FULL_VOLUME = 1_000_000;
const FULL_ACTIVITY = 10;

/**
 * Credit score, 0 to 1000: half for the volume bought (logarithmic, full at a million credits), three tenths for the
 * share of it that is used, two tenths for recent activity (full at ten purchases in 30 days). An account that never
 * bought anything scores 0.
 */
export function computeScore({ purchased, used, recentPurchases }: ScoreFigures): number {
  if (purchased <= 0) return 0;
  const volume = Math.min(1, Math.log10(1 + purchased) / Math.log10(1 + FULL_VOLUME));
  const usage = Math.min(1, used / purchased);
  const activity = Math.min(1, recentPurchases / FULL_ACTIVITY);
  return Math.round(1000 * (0.5 * volume + 0.3 * usage + 0.2 * activity));
}
