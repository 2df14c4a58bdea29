import { type Connection, directGet, TaskStore } from '@jetlane/jetstream';
import { parseTaskId, type TaskEntry } from '@jetlane/protocol';
import { sequenceAt, step } from './finished-query.js';
import type { Projection } from './projection.js';
import { entryOf, type FinishedEntry } from './record-row.js';
import { type Budget, type Part, type TaskFilter, type TaskSource } from './task-filter.js';

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Finished tasks from the projection, newest first. */
export class FinishedSource implements TaskSource {
  readonly states = ['completed', 'cancelled', 'dead'] as const;
  private readonly store: TaskStore;

  constructor(
    private readonly connection: Connection,
    private readonly projection: Projection,
  ) {
    this.store = new TaskStore(connection);
  }

  /** The count of rows looked at is not bounded as that of messages is, only the time: rows cost a hundredth. */
  async read(filter: TaskFilter, after: string | undefined, budget: Budget): Promise<Part> {
    const db = this.projection.database;
    const from = filter.from === undefined ? 0 : sequenceAt(db, filter.from);
    const to = filter.to === undefined ? Number.MAX_SAFE_INTEGER : sequenceAt(db, filter.to);
    const entries: TaskEntry[] = [];
    let below: number | undefined = Math.min(to, Number(after ?? Number.MAX_SAFE_INTEGER) || 0);
    for (; below !== undefined; await nextTurn()) {
      if (budget.items <= 0 || performance.now() > budget.deadline) return { entries, next: String(below) };
      // The database may have been replaced since the last step.
      const found = step(this.projection.database, filter, { below, from }, budget.items);
      budget.scans -= found.scanned;
      const alive = await this.stillFinished(found.rows.map(entryOf));
      entries.push(...alive.map(({ sequence: _, discarded: __, ...entry }) => entry));
      budget.items -= alive.length;
      below = found.below;
    }
    return { entries };
  }

  /** A dead task that was sent back keeps its record until it has another: what it is now tells its dead letter. */
  private async stillFinished(entries: readonly FinishedEntry[]): Promise<FinishedEntry[]> {
    const kept = await Promise.all(entries.map(async (entry) => entry.state !== 'dead' || entry.discarded || (await this.isDead(entry))));
    return entries.filter((_, place) => kept[place]);
  }

  private async isDead({ id, hop }: FinishedEntry): Promise<boolean> {
    const { queue, key } = parseTaskId(id);
    const { names } = this.connection;
    if (await directGet(this.connection, names.deadLetters, names.dead(queue, key))) return true;
    // Pushed out by the bounds of the stream, or alive again: then a copy of a higher hop is somewhere.
    const { copies } = await this.store.traces(queue, key).catch(() => ({ copies: [] }));
    return copies.every((copy) => copy.hop <= hop);
  }
}
