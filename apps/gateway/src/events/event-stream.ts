import { setTimeout as sleep } from 'node:timers/promises';
import type { TaskEventBatch, TaskEvents, TaskStatus } from '@jetlane/client';
import { recordEntry, type TaskEntry } from '@jetlane/protocol';
import type { QueueView, StatsView } from '../stats/view.js';

/** What an event stream tells of, and how it learns it. */
export interface EventSources {
  /** Only this queue. */
  readonly queue?: string;
  readonly tasks?: Pick<TaskEvents, 'next'>;
  readonly stats?: () => Promise<StatsView>;
  /** The one task that is watched: its running and its progress have no record. */
  readonly status?: () => Promise<TaskStatus>;
  /** Ends the stream. */
  readonly closing: AbortSignal;
}

const POLL_MS = 250;
const STATS_MS = 1000;
const HEARTBEAT_MS = 15_000;
/** How soon a client comes back after the stream has ended, ms. */
const RETRY_MS = 2000;

/**
 * Text of an event stream (WHATWG, `text/event-stream`). It is written only as fast as the client reads: nothing is read for a client
 * that does not take what it got, so a slow one costs one batch of memory; when it comes back too late it is told by `gap`.
 */
export async function* eventStream(sources: EventSources): AsyncGenerator<string> {
  yield `retry: ${RETRY_MS}\n\n`;
  const queues = new ChangedQueues(sources.queue);
  const watched = new WatchedTask();
  for (let [statsAt, saidAt] = [0, performance.now()]; !sources.closing.aborted; ) {
    const batch = await attempt(sources.tasks?.next());
    let text = batch ? tasksText(batch) : '';
    if (performance.now() - statsAt >= STATS_MS) {
      statsAt = performance.now();
      text += queues.text(await attempt(sources.stats?.()));
      text += watched.text(await attempt(sources.status?.()), batch);
    }
    if (text === '' && performance.now() - saidAt >= HEARTBEAT_MS) text = ': heartbeat\n\n';
    if (text !== '') {
      yield text;
      saidAt = performance.now();
    }
    if (!batch?.more) await sleep(POLL_MS, undefined, { signal: sources.closing }).catch(() => undefined);
  }
}

/** A broker or a service that is away for a moment: the stream stays, and goes on where it was. */
async function attempt<T>(answer: Promise<T> | undefined): Promise<T | undefined> {
  return answer?.catch(() => undefined);
}

const event = (name: string, data: unknown, id?: number): string =>
  `${id === undefined ? '' : `id: ${id}\n`}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;

function tasksText({ events, gap }: TaskEventBatch): string {
  const missed = gap ? event('gap', { missed: gap.missed ?? null }, gap.after) : '';
  return missed + events.map(({ task, sequence }) => event('task', task, sequence)).join('');
}

/** Figures of queues, as far as they have changed. */
class ChangedQueues {
  private readonly told = new Map<string, string>();

  constructor(private readonly only: string | undefined) {}

  text(stats: StatsView | undefined): string {
    const changed = stats?.queues.filter((queue) => (this.only ?? queue.queue_name) === queue.queue_name && this.isNew(queue)) ?? [];
    return changed.length > 0 ? event('queues', { at: stats?.at, queues: changed }) : '';
  }

  private isNew(queue: QueueView): boolean {
    const text = JSON.stringify(queue);
    if (this.told.get(queue.queue_name) === text) return false;
    this.told.set(queue.queue_name, text);
    return true;
  }
}

/** The present state of one task; told when it has changed and no record told it. */
class WatchedTask {
  private told = '';

  text(status: TaskStatus | undefined, batch: TaskEventBatch | undefined): string {
    if (!status) return '';
    const entry = { ...recordEntry(status.id, status), ...scheduledFor(status), ...progressOf(status) };
    const text = JSON.stringify(entry);
    if (text === this.told) return '';
    const first = this.told === '';
    this.told = text;
    // A finished task is told by its record, once.
    return !first && batch?.events.some(({ task }) => task.state === entry.state) ? '' : event('task', entry);
  }
}

function scheduledFor({ id, at, ...rest }: TaskStatus): { at: TaskEntry['at'] } {
  const entry = recordEntry(id, { ...rest, at });
  return { at: { ...entry.at, ...(at.scheduledFor === undefined ? {} : { scheduled_for: at.scheduledFor }) } };
}

const progressOf = ({ progress }: TaskStatus): { progress?: unknown } => (progress === undefined ? {} : { progress });
