import type { Entry } from './entry.js';

/** Entries of one priority in order of arrival: a chain, so that a deep queue has no table that must grow. */
interface Level<T, R> {
  head: Entry<T, R> | undefined;
  tail: Entry<T, R> | undefined;
}

/** Waiting entries by priority, each level in order of arrival. */
export class Backlog<T, R> {
  size = 0;
  private readonly levels: readonly Level<T, R>[];

  constructor(levels: number) {
    this.levels = Array.from({ length: levels }, () => ({ head: undefined, tail: undefined }));
  }

  push(entry: Entry<T, R>): void {
    const level = this.levels[entry.priority]!;
    if (level.tail) level.tail.next = entry;
    else level.head = entry;
    level.tail = entry;
    this.size++;
  }

  /** The first `count` by priority, then arrival. */
  take(count: number): Entry<T, R>[] {
    const taken: Entry<T, R>[] = [];
    for (const level of this.levels) while (taken.length < count && level.head) taken.push(this.shift(level, level.head));
    return taken;
  }

  remove(entries: ReadonlySet<Entry<T, R>>): void {
    for (const entry of this.take(this.size)) if (!entries.has(entry)) this.push(entry);
  }

  /** The one that has waited longest on the lowest level that has any. */
  dropOldest(): Entry<T, R> | undefined {
    const level = this.levels.findLast(({ head }) => head);
    return level?.head && this.shift(level, level.head);
  }

  /** The one that came first of all. */
  first(): Entry<T, R> | undefined {
    let first: Entry<T, R> | undefined;
    for (const { head } of this.levels) if (head && !(first && first.seq < head.seq)) first = head;
    return first;
  }

  all(): Entry<T, R>[] {
    const entries: Entry<T, R>[] = [];
    for (const { head } of this.levels) for (let entry = head; entry; entry = entry.next) entries.push(entry);
    return entries;
  }

  private shift(level: Level<T, R>, head: Entry<T, R>): Entry<T, R> {
    level.head = head.next;
    if (!head.next) level.tail = undefined;
    // Else one old entry that something still holds would keep all that came after it.
    head.next = undefined;
    this.size--;
    return head;
  }
}
