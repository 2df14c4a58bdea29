import type { CountedOutcome, Lane } from '@jetlane/protocol';

/** Times in ms that 50, 95 and 99 % do not exceed; `null` when nothing happened in the window. */
export interface TimePercentiles {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

/** Counts by outcome. */
export type OutcomeCounts = Readonly<Record<CountedOutcome, number>>;

/** What happened lately. */
export interface WindowStats {
  /** Length of the window in seconds; shorter than the usual 60 soon after analytics has started. */
  readonly seconds: number;
  readonly outcomes: OutcomeCounts;
  readonly completedPerSecond: number;
  /** Runs that failed: to be retried, or dead. */
  readonly failedPerSecond: number;
}

/** A lane, or a queue as the sum of its lanes. */
export interface LaneStats {
  readonly window: WindowStats;
  /** Since the queue's first worker, as far as records reach. */
  readonly totals: OutcomeCounts;
  /** From stored to started, in the window. */
  readonly waitMs: TimePercentiles | null;
  /** From started to finished, in the window. */
  readonly runMs: TimePercentiles | null;
}

/** Answer of the command `stats` of the service `analytics`: one per queue. */
export interface AnalyticsStats extends LaneStats {
  readonly queue: string;
  /** Only lanes that ever had a task. */
  readonly lanes: Readonly<Partial<Record<Lane, LaneStats>>>;
  /** Workers whose heartbeat is fresh. */
  readonly workers: number;
  readonly slots: number;
  readonly busy: number;
}
