import type { Entry } from './entry.js';

/** Waiting entries by priority, each level in order of arrival. */
export class Backlog<T, R> {
  size = 0;
  /** What is before the head is taken; it is cut off when it is half of the level. */
  private readonly levels: { entries: Entry<T, R>[]; head: number }[];

  constructor(levels: number) {
    this.levels = Array.from({ length: levels }, () => ({ entries: [], head: 0 }));
  }

  push(entry: Entry<T, R>): void {
    this.levels[entry.priority]!.entries.push(entry);
    this.size++;
  }

  /** The first `count` by priority, then arrival. */
  take(count: number, levels = this.levels): Entry<T, R>[] {
    let taken: Entry<T, R>[] = [];
    for (const level of levels) {
      const part = level.entries.slice(level.head, level.head + count - taken.length);
      taken = taken.length === 0 ? part : taken.concat(part);
      level.head += part.length;
      if (level.head * 2 > level.entries.length) Object.assign(level, { entries: level.entries.slice(level.head), head: 0 });
      this.size -= part.length;
    }
    return taken;
  }

  /** The one that has waited longest on the lowest level that has any. */
  dropOldest(): Entry<T, R> | undefined {
    const level = this.levels.findLast(({ entries, head }) => entries.length > head);
    return level && this.take(1, [level])[0];
  }

  /** The one that came first of all. */
  first(): Entry<T, R> | undefined {
    const heads = this.levels.map(({ entries, head }) => entries[head]).filter((entry) => entry !== undefined);
    return heads.reduce<Entry<T, R> | undefined>((first, entry) => (first && first.seq < entry.seq ? first : entry), undefined);
  }

  all(): Entry<T, R>[] {
    return this.levels.flatMap(({ entries, head }) => entries.slice(head));
  }
}
