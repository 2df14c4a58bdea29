import { type Connection, scanDeadLetters, viewDeadLetter } from '@jetlane/jetstream';
import { errorText, type TaskEntry } from '@jetlane/protocol';
import { type Budget, fits, isSpent, type Part, type TaskFilter, type TaskSource } from './task-filter.js';
import { waitingEntry } from './waiting-entry.js';

const BATCH = 500;

/** Dead tasks by their dead letters, oldest first: with payload, and without the projection. */
export class DeadSource implements TaskSource {
  readonly states = ['dead'] as const;

  constructor(private readonly connection: Connection) {}

  async read(filter: TaskFilter, after: string | undefined, budget: Budget): Promise<Part> {
    const { queue, type, from, to } = filter;
    const wanted = Object.fromEntries(Object.entries({ queue, type, from, to }).filter(([, value]) => value !== undefined));
    const entries: TaskEntry[] = [];
    for (let position = Number(after ?? 0) || 0; ; ) {
      if (isSpent(budget)) return { entries, next: String(position) };
      const page = await scanDeadLetters(this.connection, wanted, { after: position, limit: Math.min(BATCH, Math.max(1, budget.scans)) });
      budget.scans -= page.scanned;
      for (const letter of page.letters) {
        position = letter.sequence;
        budget.bytes -= letter.data.length;
        const { id, lane, reason, error, deadAt } = viewDeadLetter(this.connection.names, letter);
        const entry = waitingEntry(id, 'dead', letter, {
          ...{ lane, reason, at: { finished: deadAt } },
          ...(error ? { error: errorText(error) } : {}),
        });
        if (!fits(entry, filter, letter.data)) continue;
        entries.push(entry);
        if (--budget.items <= 0) return { entries, next: String(position) };
      }
      if (page.next === undefined) return { entries };
      position = Math.max(position, page.next);
    }
  }
}
