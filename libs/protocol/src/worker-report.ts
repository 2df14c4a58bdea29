import type { Lane } from './lanes.js';

/** What a worker tells the world once a second, on core NATS. */
export interface Heartbeat {
  readonly worker: string;
  readonly queue: string;
  readonly host: string;
  readonly pid: number;
  readonly version: string;
  readonly startedAt: number;
  readonly at: number;
  readonly slots: number;
  readonly busy: number;
  readonly types: readonly string[];
  /** Keys of the tasks that run now, at most 1,000, with lane, hop, attempt and start. */
  readonly running: readonly RunningTask[];
  /** Share of the slots' time in the last second that handlers took, 0 to 1. Missing from workers of an older version, as is `load`. */
  readonly utilisation?: number;
  readonly load?: ProcessLoad;
  /** Set on the last heartbeat of a worker that stops. */
  readonly stopping?: boolean;
}

/** How busy a worker's process was since its last heartbeat. Workers of one process tell the same. */
export interface ProcessLoad {
  /** Longest delay of the event loop, ms. */
  readonly lagMs: number;
  /** Share of one processor core; above 1 with threads. */
  readonly cpu: number;
  /** Resident memory, MiB. */
  readonly rssMb: number;
  /** JavaScript heap in use, MiB. */
  readonly heapMb: number;
}

/** A task that a worker runs, as its heartbeat tells; `startedAt` in ms since 1970. */
export interface RunningTask {
  readonly key: string;
  readonly lane: Lane;
  readonly hop: number;
  readonly attempt: number;
  readonly startedAt: number;
  /** What the handler told last: percent, or an object of its own. Left out where heartbeats would grow too long. */
  readonly progress?: unknown;
}

/** Outcomes that workers count. */
export const OUTCOMES = ['completed', 'retry', 'dead', 'cancelled', 'interrupted', 'duplicate'] as const;
/** One of {@link OUTCOMES}. */
export type CountedOutcome = (typeof OUTCOMES)[number];

/** Counts and histograms of one lane since the worker started. */
export interface LaneMetrics {
  readonly counts: Readonly<Partial<Record<CountedOutcome, number>>>;
  /** Compressed HDR histogram, base64, of the time from stored to started, in microseconds. */
  readonly wait?: string;
  /** Likewise, of the time from started to finished. */
  readonly run?: string;
}

/** A worker's cumulative metrics: the last one of each worker is kept, so that who reads late misses nothing. */
export interface MetricsSnapshot {
  readonly worker: string;
  readonly queue: string;
  readonly startedAt: number;
  readonly at: number;
  readonly slots: number;
  readonly busy: number;
  readonly lanes: Readonly<Partial<Record<Lane, LaneMetrics>>>;
}
