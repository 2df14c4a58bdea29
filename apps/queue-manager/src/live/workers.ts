import type { Heartbeat, WorkerDetail, WorkerView } from '@jetlane/protocol';

/** A worker that is silent for longer is lost: three heartbeats and a bit, as analytics and the look-up of a task judge. */
export const SILENT_MS = 3500;
/** A heartbeat that is older has been missed, ms. */
const MISSED_MS = 1500;
/** How long a lost worker is shown. */
export const SHOWN_LOST_MS = 60_000;
/** Workers that are kept in mind; what is silent longest gives way. */
const MOST_WORKERS = 20_000;

interface Seen {
  readonly beat: Heartbeat;
  /** By the clock below, ms. */
  readonly at: number;
}

/** The workers of an installation by their heartbeats, alive or lost. Keeps nothing but the last heartbeat of each. */
export class LiveWorkers {
  private readonly seen = new Map<string, Seen>();

  constructor(private readonly now: () => number = Date.now) {}

  /** @param at when it came: another queue-manager may have heard it earlier */
  heard(beat: Heartbeat, at = this.now()): void {
    const key = keyOf(beat.queue, beat.worker);
    const known = this.seen.get(key);
    if (known && known.at > at) return;
    this.seen.delete(key);
    if (beat.stopping) return;
    if (this.seen.size >= MOST_WORKERS) this.forget();
    this.seen.set(key, { beat, at });
  }

  /** All workers, or those of a queue, by queue and name. */
  list(queue?: string): WorkerView[] {
    this.forget();
    const entries = [...this.seen.values()].filter(({ beat }) => queue === undefined || beat.queue === queue);
    return entries.map((entry) => this.view(entry)).sort(byQueueAndName);
  }

  get(queue: string, worker: string): WorkerDetail | undefined {
    this.forget();
    const entry = this.seen.get(keyOf(queue, worker));
    if (!entry) return undefined;
    const tasks = entry.beat.running.map(({ key, startedAt, ...run }) => ({ id: `${queue}.${key}`, ...run, started_at: startedAt }));
    return { ...this.view(entry), tasks };
  }

  /** Last heartbeats of the workers that live. */
  alive(queue?: string): Heartbeat[] {
    const since = this.now() - SILENT_MS;
    return [...this.seen.values()].flatMap(({ beat, at }) => (at >= since && (queue === undefined || beat.queue === queue) ? [beat] : []));
  }

  /** Who missed a heartbeat: what another queue-manager cannot hear for itself. */
  silent(): { readonly beat: Heartbeat; readonly at: number }[] {
    this.forget();
    const since = this.now() - MISSED_MS;
    return [...this.seen.values()].filter(({ at }) => at < since);
  }

  private view({ beat, at }: Seen): WorkerView {
    const { load } = beat;
    return {
      worker: beat.worker,
      queue: beat.queue,
      state: this.now() - at > SILENT_MS ? 'lost' : 'live',
      host: beat.host,
      pid: beat.pid,
      version: beat.version,
      started_at: beat.startedAt,
      seen_at: at,
      types: [...beat.types],
      slots: beat.slots,
      busy: beat.busy,
      utilisation: beat.utilisation ?? null,
      loop_lag_ms: load?.lagMs ?? null,
      cpu: load?.cpu ?? null,
      rss_mb: load?.rssMb ?? null,
      heap_mb: load?.heapMb ?? null,
      running: beat.running.length,
    };
  }

  /** The map is in the order of the last heartbeats. */
  private forget(): void {
    const since = this.now() - SILENT_MS - SHOWN_LOST_MS;
    for (const [key, { at }] of this.seen) {
      if (at >= since && this.seen.size < MOST_WORKERS) return;
      this.seen.delete(key);
    }
  }
}

const keyOf = (queue: string, worker: string): string => `${queue}.${worker}`;

function byQueueAndName(a: WorkerView, b: WorkerView): number {
  return a.queue === b.queue ? (a.worker < b.worker ? -1 : 1) : a.queue < b.queue ? -1 : 1;
}
