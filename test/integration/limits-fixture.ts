import { JsonBucket } from '@jetlane/jetstream';
import { parseQueueDefinition, type QueueDefinition } from '@jetlane/protocol';
import type { WorkerOptions } from '@jetlane/worker';
import type { WorkerSite } from './worker-fixture.js';

/** One run of a handler, by one clock. */
export interface Effect {
  readonly key: string;
  readonly worker: string;
  readonly from: number;
  to: number;
}

/** What handlers did, written down outside the product. */
export class Effects {
  readonly runs: Effect[] = [];
  private open = 0;
  /** Most runs at once so far. */
  most = 0;

  get running(): number {
    return this.open;
  }

  /** Runs that began within a span of time. */
  started(from: number, to: number): Effect[] {
    return this.runs.filter((run) => run.from >= from && run.from < to);
  }

  /** A handler that takes some ms and leaves an effect. */
  handler(worker: string, ms: number): (data: unknown, context: { key: string }) => Promise<void> {
    return async (_, { key }) => {
      const run: Effect = { key, worker, from: performance.now(), to: Number.POSITIVE_INFINITY };
      this.runs.push(run);
      this.most = Math.max(this.most, ++this.open);
      await new Promise((resolve) => setTimeout(resolve, ms));
      this.open--;
      run.to = performance.now();
    };
  }
}

/** Most of the given runs at once. */
export function overlap(runs: readonly Pick<Effect, 'from' | 'to'>[]): number {
  const edges = runs.flatMap(({ from, to }) => [
    { at: from, change: 1 },
    { at: to, change: -1 },
  ]);
  edges.sort((a, b) => a.at - b.at || a.change - b.change);
  let now = 0;
  let most = 0;
  for (const { change } of edges) {
    now += change;
    most = Math.max(most, now);
  }
  return most;
}

/** Tasks `<prefix>0`, `<prefix>1`, … of type `t`. */
export async function backlog(site: WorkerSite, queue: string, count: number, prefix = 'k', group?: string): Promise<void> {
  const headers = [['Task-Type', 't'] as const, ...(group === undefined ? [] : [['Task-Group', group] as const])];
  await Promise.all(Array.from({ length: count }, (_, i) => site.send(queue, `${prefix}${i}`, '', headers)));
}

/** Defines a queue as the bucket has it; also changes it while workers run. */
export async function redefine(site: WorkerSite, definition: QueueDefinition): Promise<void> {
  const { connection } = site;
  const bucket = await JsonBucket.open<QueueDefinition>(connection, connection.names.bucket('queues'), 16);
  await bucket.put(definition.name, parseQueueDefinition(definition));
}

/** A worker that leaves effects; it knows the types `t` and `sleep`. */
export function worker(site: WorkerSite, effects: Effects, name: string, ms: number, options: Omit<WorkerOptions, 'handlers'>) {
  const handle = effects.handler(name, ms);
  return site.worker({ name, ...options, handlers: { t: handle, sleep: handle } });
}
