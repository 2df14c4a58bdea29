import type { Entry } from './entry.js';

/** Slots that an empty ring keeps for the next burst. */
const MOST_KEPT = 65_536;

/** First in, first out, in a ring that doubles when it is full. */
class Ring<E> {
  private slots: (E | undefined)[] = new Array(16);
  private head = 0;
  length = 0;

  push(entry: E): void {
    if (this.length === this.slots.length) this.grow();
    this.slots[(this.head + this.length++) & (this.slots.length - 1)] = entry;
  }

  shift(): E | undefined {
    if (this.length === 0) return undefined;
    const entry = this.slots[this.head];
    this.slots[this.head] = undefined;
    this.head = (this.head + 1) & (this.slots.length - 1);
    // A burst must not hold its memory for ever.
    if (--this.length === 0 && this.slots.length > MOST_KEPT) this.slots = new Array(16);
    if (this.length === 0) this.head = 0;
    return entry;
  }

  at(index: number): E | undefined {
    return this.slots[(this.head + index) & (this.slots.length - 1)];
  }

  private grow(): void {
    const ordered = Array.from({ length: this.length }, (_, index) => this.at(index));
    ordered.length *= 2;
    this.slots = ordered;
    this.head = 0;
  }
}

/** Waiting entries by priority, each level in order of arrival. */
export class Backlog<T, R> {
  private levels: Ring<Entry<T, R>>[];
  size = 0;

  constructor(levels: number) {
    this.levels = Array.from({ length: levels }, () => new Ring());
  }

  push(entry: Entry<T, R>): void {
    this.levels[entry.priority]!.push(entry);
    this.size++;
  }

  /** The first `count` by priority, then arrival. */
  take(count: number): Entry<T, R>[] {
    const taken: Entry<T, R>[] = [];
    for (const level of this.levels) {
      while (taken.length < count && level.length > 0) taken.push(level.shift()!);
      if (taken.length === count) break;
    }
    this.size -= taken.length;
    return taken;
  }

  /** The one that has waited longest on the lowest level that has any. */
  dropOldest(): Entry<T, R> | undefined {
    const entry = this.levels.findLast(({ length }) => length > 0)?.shift();
    if (entry) this.size--;
    return entry;
  }

  /** Takes out what is no longer waiting. */
  sweep(): void {
    const waiting = this.all().filter(({ state }) => state === 'waiting');
    this.levels = this.levels.map(() => new Ring());
    this.size = 0;
    for (const entry of waiting) this.push(entry);
  }

  /** The one that came first of all. */
  first(): Entry<T, R> | undefined {
    let first: Entry<T, R> | undefined;
    for (const level of this.levels) {
      const head = level.at(0);
      if (head && head.seq < (first?.seq ?? Number.POSITIVE_INFINITY)) first = head;
    }
    return first;
  }

  all(): Entry<T, R>[] {
    return this.levels.flatMap((level) => Array.from({ length: level.length }, (_, index) => level.at(index)!));
  }
}
