import { type Connection, directGet } from '@jetlane/jetstream';
import type { Heartbeat, RunningTask, TaskEntry } from '@jetlane/protocol';
import { type Budget, fits, isSpent, type Part, type TaskFilter, type TaskSource, within } from './task-filter.js';
import { waitingEntry } from './waiting-entry.js';

/** Messages that are read at a time: heartbeats name tasks, their headers and payloads are in the lanes. */
const AT_ONCE = 64;

type Run = RunningTask & { readonly id: string; readonly queue: string; readonly worker: string };

/** Tasks that workers say they run, by id. At most a second old; a worker tells of 1,000 at most. */
export class RunningSource implements TaskSource {
  readonly states = ['running'] as const;

  constructor(
    private readonly connection: Connection,
    private readonly alive: (queue?: string) => readonly Heartbeat[],
  ) {}

  /** `<id>#<hop>` of all that runs. */
  readonly ids = (): ReadonlySet<string> => new Set(this.runs().map(({ id, hop }) => `${id}#${hop}`));

  async read(filter: TaskFilter, after: string | undefined, budget: Budget): Promise<Part> {
    const runs = this.runs(filter.queue).filter(({ id, lane }) => (after === undefined || id > after) && (filter.lane ?? lane) === lane);
    runs.sort((a, b) => (a.id < b.id ? -1 : 1));
    const entries: TaskEntry[] = [];
    for (let i = 0; i < runs.length; i += AT_ONCE) {
      if (isSpent(budget)) return { entries, next: runs[i - 1]?.id ?? after ?? '' };
      const some = runs.slice(i, i + AT_ONCE);
      const messages = await Promise.all(some.map((run) => this.message(run)));
      for (const [place, run] of some.entries()) {
        const message = messages[place];
        budget.scans--;
        if (!message || !within(message.storedAt, filter)) continue;
        const entry = waitingEntry(run.id, 'running', message, { lane: run.lane, worker: run.worker, at: { started: run.startedAt } });
        if (!fits(entry, filter, message.data)) continue;
        entries.push(entry);
        if (--budget.items <= 0) return { entries, next: run.id };
      }
    }
    return { entries };
  }

  private runs(queue?: string): Run[] {
    return this.alive(queue).flatMap((beat) =>
      beat.running.map((run) => ({ ...run, id: `${beat.queue}.${run.key}`, queue: beat.queue, worker: beat.worker })),
    );
  }

  /** Gone when the task is finished since. */
  private message({ queue, lane, key }: Run) {
    const { names } = this.connection;
    return directGet(this.connection, names.lane(queue, lane).stream, names.task(queue, lane, key));
  }
}
