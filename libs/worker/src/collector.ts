import type { BatchRule } from './handler-options.js';

/** Time as a collector needs it. */
export interface Timers {
  /** Calls back once after `ms`; returns the way to stop that. */
  after(ms: number, run: () => void): () => void;
}

/** Timers of the process. */
export const processTimers: Timers = {
  after: (ms, run) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

/** One batch that is being gathered. `young` → `late` (has waited `maxWaitMs`) → gone. */
interface Gathering<T> {
  readonly items: T[];
  late: boolean;
  stop: () => void;
}

/**
 * Gathers items into batches, group by group: a batch begins at `size`, or after `maxWaitMs` when at least `minSize` items are there;
 * below that as soon as they are, and after `longestWaitMs` with what there is. Both times count from the first item.
 */
export class Collector<T> {
  private readonly groups = new Map<string | undefined, Gathering<T>>();

  constructor(
    private readonly rule: BatchRule,
    private readonly timers: Timers,
    /** Takes over the items; called from `add`, `beginFullest` or a timer. */
    private readonly begin: (items: T[], group: string | undefined) => void,
  ) {}

  /** Items of the fullest batch. */
  get fullest(): number {
    let most = 0;
    for (const { items } of this.groups.values()) most = Math.max(most, items.length);
    return most;
  }

  add(item: T, group: string | undefined): void {
    const gathering = this.groups.get(group) ?? this.open(group);
    gathering.items.push(item);
    const enough = gathering.late ? this.rule.minSize : this.rule.size;
    if (gathering.items.length >= enough) this.start(group, gathering);
  }

  /** Takes the first item that fits out again. */
  remove(fits: (item: T) => boolean): T | undefined {
    for (const [group, gathering] of this.groups) {
      const index = gathering.items.findIndex(fits);
      if (index < 0) continue;
      const [item] = gathering.items.splice(index, 1);
      if (gathering.items.length === 0) this.close(group, gathering);
      return item;
    }
    return undefined;
  }

  /** Begins the fullest batch as it is, the oldest of those that are equally full. */
  beginFullest(): void {
    const most = this.fullest;
    for (const [group, gathering] of this.groups) {
      if (gathering.items.length === most) return this.start(group, gathering);
    }
  }

  /** Takes out everything. */
  takeAll(): T[] {
    const items = [...this.groups.values()].flatMap((gathering) => gathering.items);
    for (const [group, gathering] of this.groups) this.close(group, gathering);
    return items;
  }

  private open(group: string | undefined): Gathering<T> {
    const gathering: Gathering<T> = { items: [], late: false, stop: () => undefined };
    this.groups.set(group, gathering);
    if (this.rule.size > 1) gathering.stop = this.timers.after(this.rule.maxWaitMs, () => this.waited(group, gathering));
    return gathering;
  }

  private waited(group: string | undefined, gathering: Gathering<T>): void {
    const { minSize, maxWaitMs, longestWaitMs } = this.rule;
    if (gathering.items.length >= minSize) return this.start(group, gathering);
    gathering.late = true;
    gathering.stop = this.timers.after(longestWaitMs - maxWaitMs, () => this.start(group, gathering));
  }

  private start(group: string | undefined, gathering: Gathering<T>): void {
    this.close(group, gathering);
    this.begin(gathering.items, group);
  }

  private close(group: string | undefined, gathering: Gathering<T>): void {
    gathering.stop();
    this.groups.delete(group);
  }
}
