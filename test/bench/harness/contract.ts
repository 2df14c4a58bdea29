/**
 * What a measured side and the harness tell each other. A side is a module that exports `run: Side`; the harness
 * loads it by path in a fresh child process, so that no side warms or burdens another one's process.
 */
export interface Job {
  /** Address of the nats-server that this run of the benchmark started. */
  natsUrl: string;
  /** Process id of that server, for its CPU time. */
  natsPid: number;
  /** Port of the redis-server; 0 where the run has none. */
  redisPort: number;
  /** Process id of the redis-server; 0 where the run has none. */
  redisPid: number;
  /** Fresh for every round. Every stream of the side carries it; the harness deletes them afterwards. */
  namespace: string;
  /** Tasks to handle: to store (enqueue), to settle (process), lookups per state (status). */
  count: number;
  /** How long an HTTP side is loaded, in milliseconds, after a warm-up of half of it; how long servers at rest are watched. */
  durationMs: number;
  /** Which form of the side to run, such as `many` or `none`; empty where there is one only. */
  variant: string;
}

/** The shape of one stored message, to show that two sides send the same thing. */
export interface StoredShape {
  /** Subject without its namespace, the key replaced by `*`. */
  subject: string;
  /** Names of the stored headers, in their order. */
  headers: string[];
  /** Length of the header block and of the body, in bytes. */
  headerBytes: number;
  bodyBytes: number;
}

export interface Measurement {
  /** Figures by name: `rate`, `p50`, `serverCpu` … A suite names those that it reports. */
  values: Record<string, number>;
  /** Stored messages of this side, where a suite compares them (`task`, `record`). */
  shapes?: Record<string, StoredShape>;
}

/** Runs one round and proves its result by counting what was stored; throws when the counts are wrong. */
export type Side = (job: Job) => Promise<Measurement>;

/** Name of the queue, lane and task type that every side uses. */
export const QUEUE = 'bench';
export const LANE = 'normal' as const;
export const TASK_TYPE = 'noop';

/** Throws unless two counts agree: a rate that stored something else than it claims is worthless. */
export function expectCount(what: string, actual: number, expected: number): void {
  if (actual !== expected) throw new Error(`${what}: expected ${expected}, found ${actual}`);
}
