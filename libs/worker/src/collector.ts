import { MinGap } from '@jetlane/protocol';
import type { BatchRule } from './handler-options.js';

/** Time as a collector needs it. */
export interface Timers {
  /** A reading of a monotonic clock, in ms. */
  readonly now: number;
  /** Calls back once after `ms`; returns the way to stop that. */
  after(ms: number, run: () => void): () => void;
}

/** Timers of the process. */
export const processTimers: Timers = {
  get now() {
    return performance.now();
  },
  after: (ms, run) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

/** One batch that is being gathered. `young` → `late` (has waited `maxWaitMs`) → `due` (may begin as soon as the gap allows) → gone. */
interface Gathering<T> {
  readonly group: string | undefined;
  readonly items: T[];
  state: 'young' | 'late' | 'due';
  stop: () => void;
}

/**
 * Gathers items into batches, group by group: a batch is due at `size`, or after `maxWaitMs` when at least `minSize` items are there;
 * below that as soon as they are, and after `longestWaitMs` with what there is. Both times count from the first item. What is due begins
 * at once, or in turn where a gap lies between two beginnings; while it waits for that, it still takes items up to `size`.
 */
export class Collector<T> {
  /** The batch of each group that takes items. */
  private readonly groups = new Map<string | undefined, Gathering<T>>();
  /** Batches that are due, in their order; only where there is a gap. */
  private readonly due: Gathering<T>[] = [];
  private readonly gap: MinGap;
  private gapMs: number;
  private stopGap: (() => void) | undefined;

  constructor(
    private readonly rule: BatchRule,
    private readonly timers: Timers,
    /** Takes over the items; called from `add`, `addAlone`, `beginFullest` or a timer. */
    private readonly begin: (items: T[], group: string | undefined) => void,
  ) {
    this.gapMs = rule.minGapMs;
    this.gap = new MinGap(this.gapMs);
  }

  /** Another gap from now on, for what is due already too; 0: none. */
  setGap(gapMs: number): void {
    this.gapMs = gapMs;
    this.gap.setGap(gapMs);
    this.stopGap?.();
    this.stopGap = undefined;
    this.startDue();
  }

  /** Items of the fullest batch that is not due. */
  get fullest(): number {
    let most = 0;
    for (const { items, state } of this.groups.values()) if (state !== 'due') most = Math.max(most, items.length);
    return most;
  }

  add(item: T, group: string | undefined): void {
    const gathering = this.groups.get(group) ?? this.open(group);
    gathering.items.push(item);
    const full = gathering.items.length >= this.rule.size;
    if (gathering.state === 'due') {
      if (full) this.groups.delete(group);
    } else if (full || (gathering.state === 'late' && gathering.items.length >= this.rule.minSize)) this.isDue(gathering);
  }

  /** A batch of one that nobody joins, due at once. */
  addAlone(item: T, group: string | undefined): void {
    this.isDue({ group, items: [item], state: 'young', stop: () => undefined });
  }

  /** Takes the first item that fits out again. */
  remove(fits: (item: T) => boolean): T | undefined {
    for (const gathering of this.all()) {
      const index = gathering.items.findIndex(fits);
      if (index < 0) continue;
      const [item] = gathering.items.splice(index, 1);
      if (gathering.items.length === 0) this.close(gathering);
      return item;
    }
    return undefined;
  }

  /** The fullest batch is due as it is, the oldest of those that are equally full. */
  beginFullest(): void {
    const most = this.fullest;
    for (const gathering of this.groups.values()) {
      if (gathering.state !== 'due' && gathering.items.length === most) return this.isDue(gathering);
    }
  }

  /** Takes out everything. */
  takeAll(): T[] {
    const all = [...this.all()];
    for (const gathering of all) this.close(gathering);
    this.stopGap?.();
    this.stopGap = undefined;
    return all.flatMap(({ items }) => items);
  }

  private all(): Set<Gathering<T>> {
    return new Set([...this.due, ...this.groups.values()]);
  }

  private open(group: string | undefined): Gathering<T> {
    const gathering: Gathering<T> = { group, items: [], state: 'young', stop: () => undefined };
    this.groups.set(group, gathering);
    if (this.rule.size > 1) gathering.stop = this.timers.after(this.rule.maxWaitMs, () => this.waited(gathering));
    return gathering;
  }

  private waited(gathering: Gathering<T>): void {
    const { minSize, maxWaitMs, longestWaitMs } = this.rule;
    if (gathering.items.length >= minSize) return this.isDue(gathering);
    gathering.state = 'late';
    gathering.stop = this.timers.after(longestWaitMs - maxWaitMs, () => this.isDue(gathering));
  }

  private isDue(gathering: Gathering<T>): void {
    gathering.stop();
    if (this.gapMs === 0 && this.due.length === 0) return this.start(gathering);
    gathering.state = 'due';
    if (gathering.items.length >= this.rule.size) this.forget(gathering);
    this.due.push(gathering);
    this.startDue();
  }

  /** Begins what the gap lets begin, and comes back for the rest. */
  private startDue(): void {
    const waitMs = this.gap.waitMs(this.timers.now);
    if (waitMs === 0 && this.due[0]) {
      this.gap.begin(this.timers.now);
      this.start(this.due.shift()!);
    }
    if (this.due.length === 0 || this.stopGap) return;
    this.stopGap = this.timers.after(this.gap.waitMs(this.timers.now), () => {
      this.stopGap = undefined;
      this.startDue();
    });
  }

  private start(gathering: Gathering<T>): void {
    this.close(gathering);
    this.begin(gathering.items, gathering.group);
  }

  private close(gathering: Gathering<T>): void {
    gathering.stop();
    this.forget(gathering);
    const place = this.due.indexOf(gathering);
    if (place >= 0) this.due.splice(place, 1);
  }

  /** It takes no items any more. */
  private forget(gathering: Gathering<T>): void {
    if (this.groups.get(gathering.group) === gathering) this.groups.delete(gathering.group);
  }
}
