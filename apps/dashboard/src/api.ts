/** Priority classes, highest first. */
export const LANES = ['critical', 'high', 'normal', 'low'] as const;
export type Lane = (typeof LANES)[number];

export interface LaneView {
  readonly depth: number;
  readonly active: number;
  readonly oldest_age_ms: number | null;
}

export interface QueueView {
  readonly queue_name: string;
  readonly paused: boolean;
  readonly depth: number;
  readonly active: number;
  readonly scheduled: number;
  readonly failed: number;
  readonly oldest_age_ms: number | null;
  readonly lanes: Readonly<Record<Lane, LaneView>>;
  readonly rates: {
    readonly window_seconds: number;
    readonly completed_per_second: number;
    readonly failed_per_second: number;
    readonly retried_per_second: number;
  } | null;
  readonly totals: { readonly completed: number; readonly failed: number; readonly retried: number; readonly cancelled: number } | null;
  readonly wait_ms: Percentiles | null;
  readonly run_ms: Percentiles | null;
  readonly workers: { readonly count: number; readonly slots: number; readonly busy: number } | null;
}

export interface Percentiles {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

export interface StatsView {
  readonly at: number;
  readonly missing: readonly { readonly service: string; readonly detail: string }[];
  readonly queues: readonly QueueView[];
}

export interface TaskError {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
}

/** Hops of a task on its way, in order. */
export const HOPS = ['created', 'stored', 'fetched', 'started', 'finished'] as const;
export type Hop = (typeof HOPS)[number];

export interface TaskView {
  readonly task_id: string;
  readonly queue_name: string;
  readonly task_type?: string;
  readonly lane?: Lane;
  readonly group?: string;
  readonly state: string;
  readonly attempt: number;
  readonly hop: number;
  readonly at: Readonly<Partial<Record<Hop | 'scheduled_for', number>>>;
  readonly result?: unknown;
  readonly error?: TaskError;
  readonly reason?: string;
  readonly worker?: string;
  readonly trace_id?: string;
  readonly history: readonly (TaskError & { readonly attempt: number; readonly at: number; readonly worker?: string })[];
}

/** An answer that is not a success, or none at all (`status` 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

const KEY = 'jetlane-api-key';
const TIMEOUT_MS = 8000;

/** The key that the visitor typed in; kept until the tab closes. */
export function setApiKey(key: string): void {
  sessionStorage.setItem(KEY, key);
}

/** @throws ApiError */
export async function getJson<T>(path: string): Promise<T> {
  const key = sessionStorage.getItem(KEY);
  let response: Response;
  try {
    response = await fetch(path, { headers: key ? { authorization: `Bearer ${key}` } : {}, signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new ApiError(0, 'unreachable', 'The gateway does not answer.');
  }
  const body = (await response.json().catch(() => ({}))) as { code?: string; detail?: string };
  if (!response.ok) throw new ApiError(response.status, body.code ?? 'unknown', body.detail ?? `The gateway answered ${response.status}.`);
  return body as T;
}

/** A worker as its last heartbeat showed it. */
export interface WorkerView {
  readonly worker: string;
  readonly queue: string;
  readonly state: 'live' | 'lost';
  readonly host: string;
  readonly pid: number;
  readonly version: string;
  readonly slots: number;
  readonly busy: number;
  readonly utilisation: number | null;
  readonly loop_lag_ms: number | null;
  readonly rss_mb: number | null;
}

export const getWorkers = (limit: number): Promise<{ items: WorkerView[]; total: number }> => getJson(`/api/v1/workers?limit=${limit}`);
export const getStats = (): Promise<StatsView> => getJson('/api/queue/stats');
export const getTask = (id: string): Promise<TaskView> => getJson(`/api/queue/status/${encodeURIComponent(id)}`);
