import { type Limits, PULL_SURPLUS, perMs } from '@jetlane/protocol';
import type { HeldTask } from '../held-task.js';
import { SharedRate } from './shared-rate.js';
import { BEAT_MS, type SharedLimit, type ShareKeeper } from './shares.js';

/** Tasks that may wait here for their group, over all lanes; the held bound leaves as much again for what can run. */
export const MOST_PARKED = 2 * PULL_SURPLUS;
/** Groups that a worker keeps in mind while they are idle: each is a line of its entry. */
const MOST_GROUPS = 1000;
/** How long an idle group keeps its share: the next task of it then starts at once. */
const IDLE_MS = 2000;
const SHORTEST_RETURN_MS = 1000;
const LONGEST_RETURN_MS = 60_000;
/** Timers fire in crowds: some more than what can start must come back, or the group would stand idle between two crowds. */
const NEARLY = 0.8;

type GroupLimit = NonNullable<Limits['group']>;

interface Group {
  readonly name: string;
  readonly concurrency: SharedLimit | undefined;
  readonly rate: SharedRate | undefined;
  /** In the order of their coming. */
  readonly parked: HeldTask[];
  running: number;
  /** Tasks that went back by a timer since the last beat: they want the group too. */
  away: number;
  usedAt: number;
  /** When its share was last asked for out of turn. */
  askedAt: number;
  /** When the last task that went away comes back. */
  returnsAt: number;
}

/**
 * The limits of each group. A task whose group is at its limit is parked here, where it keeps no slot and no other task waits
 * behind it; when the places are taken it goes back to its lane by a timer, for about as long as its group needs to get to it.
 */
export class GroupLimits {
  private readonly groups = new Map<string, Group>();
  private readonly waiting = new Set<Group>();
  /** Tasks that are parked. */
  parked = 0;

  /** @param needShare a group has tasks and no share yet */
  constructor(
    private readonly keeper: ShareKeeper,
    private limit: GroupLimit,
    private readonly needShare: () => void,
  ) {}

  /** Another limit: groups that run keep what they have until the next beat. */
  configure(limit: GroupLimit): void {
    const same = (limit.concurrency === undefined) === (this.limit.concurrency === undefined) && !limit.rate === !this.limit.rate;
    this.limit = limit;
    for (const group of this.groups.values()) {
      if (!same) this.rebuild(group);
      if (group.concurrency && limit.concurrency) group.concurrency.total = limit.concurrency;
      if (group.rate && limit.rate) group.rate.setRate(limit.rate);
    }
  }

  /** True when a task of the group may start now. */
  admits(name: string, now: number): boolean {
    return this.open(this.of(name, now), now);
  }

  started(name: string, now: number): void {
    this.count(name, now).rate?.take();
  }

  /** Counts a task that runs, though its start took no token. */
  count(name: string, now: number): Group {
    const group = this.of(name, now);
    group.running++;
    group.usedAt = now;
    return group;
  }

  ended(name: string, now: number): void {
    const group = this.groups.get(name);
    if (!group) return;
    group.running = Math.max(0, group.running - 1);
    group.usedAt = now;
  }

  /** Keeps a task until its group lets it start. @returns false when there is no room: see {@link away} */
  park(task: HeldTask, name: string, now: number): boolean {
    const group = this.of(name, now);
    // A place is left for the next group that comes.
    const places = MOST_PARKED / (this.waiting.size + (this.waiting.has(group) ? 1 : 2));
    if (this.parked >= MOST_PARKED || group.parked.length >= places) return false;
    group.parked.push(task);
    this.waiting.add(group);
    this.parked++;
    return true;
  }

  /**
   * How long a task that finds no room should stay away, in ms. Each gets a time of its own, nearly as far apart as the group's
   * tasks can start, so that a long backlog of one group is not sent round and round.
   * @param runMs how long handlers run here
   */
  away(name: string, now: number, runMs: number): number {
    const group = this.of(name, now);
    group.away++;
    const { concurrency, rate } = this.limit;
    const apart = Math.max(concurrency ? runMs / concurrency : 0, rate ? 1 / perMs(rate) : 0);
    group.returnsAt = Math.max(now + SHORTEST_RETURN_MS, group.returnsAt + apart * NEARLY);
    if (group.returnsAt <= now + LONGEST_RETURN_MS) return group.returnsAt - now;
    group.returnsAt = now + LONGEST_RETURN_MS;
    return LONGEST_RETURN_MS * (0.5 + Math.random() / 2);
  }

  /** Parked tasks whose group lets them start now, at most one of each group. */
  ready(now: number): HeldTask[] {
    const ready: HeldTask[] = [];
    for (const group of this.waiting) {
      if (!this.open(group, now)) continue;
      ready.push(group.parked.shift()!);
      this.parked--;
      if (group.parked.length === 0) this.waiting.delete(group);
    }
    return ready;
  }

  /** Everything that is parked, for a worker that stops or has no group limits any more. */
  takeAll(): HeldTask[] {
    const all = [...this.waiting].flatMap((group) => group.parked.splice(0));
    this.waiting.clear();
    this.parked = 0;
    return all;
  }

  /** Parked tasks that have waited for longer than some time; they are taken out. */
  takeOlder(arrivedBefore: number): HeldTask[] {
    const old: HeldTask[] = [];
    for (const group of this.waiting) {
      while (group.parked[0] && group.parked[0].fetchedAt < arrivedBefore) old.push(group.parked.shift()!);
      if (group.parked.length === 0) this.waiting.delete(group);
    }
    this.parked -= old.length;
    return old;
  }

  /** Time until a rate lets a parked task start, in ms; Infinity when that waits for something else. */
  waitMs(now: number): number {
    let wait = Number.POSITIVE_INFINITY;
    for (const group of this.waiting) if (group.rate) wait = Math.min(wait, group.rate.waitMs(now));
    return wait;
  }

  /** Forgets groups that are idle. Whoever takes one up later finds it as it was: its rate has saved up all it can. */
  sweep(now: number): void {
    let idle = this.groups.size - MOST_GROUPS;
    for (const group of this.groups.values()) {
      if (group.running > 0 || group.parked.length > 0) continue;
      const rested = now - group.usedAt > IDLE_MS && (group.rate?.full(now) ?? true);
      if (rested || idle-- > 0) this.forget(group);
      else group.away = 0;
    }
  }

  /** Ends it: no group is claimed any more. */
  close(): void {
    for (const group of [...this.groups.values()]) this.forget(group);
  }

  private open(group: Group, now: number): boolean {
    const slot = group.concurrency === undefined || group.running < group.concurrency.granted(now);
    const token = group.rate === undefined || group.rate.available(now) >= 1;
    if (slot && token) return true;
    if (!token) group.rate!.starve();
    this.ask(group, now);
    return false;
  }

  /** A new group need not wait for the next beat, unless others have all of it. */
  private ask(group: Group, now: number): void {
    const { name, concurrency, rate } = group;
    if ((concurrency ?? rate!.share).cap > 0 || now - group.askedAt < BEAT_MS) return;
    const free = concurrency ? this.keeper.free(`c:${name}`, now, concurrency.total) >= 1 : !this.keeper.claimedElsewhere(`r:${name}`, now);
    if (!free) return;
    group.askedAt = now;
    this.needShare();
  }

  private of(name: string, now: number): Group {
    let group = this.groups.get(name);
    if (!group) {
      group = {
        ...this.limitsOf(name, now),
        name,
        parked: [],
        running: 0,
        away: 0,
        usedAt: now,
        askedAt: Number.NEGATIVE_INFINITY,
        returnsAt: 0,
      };
      this.groups.set(name, group);
    }
    return group;
  }

  /** A group that nobody has is a rested one: its first task need not wait for a token. */
  private limitsOf(name: string, now: number): Pick<Group, 'concurrency' | 'rate'> {
    const { concurrency, rate } = this.limit;
    const use = { wants: () => this.wants(name), inUse: () => this.groups.get(name)?.running ?? 0 };
    const rateId = `r:${name}`;
    const level = this.keeper.claimedElsewhere(rateId, now) ? 0 : 1;
    return {
      concurrency: concurrency ? this.keeper.add(`c:${name}`, concurrency, { whole: true, spread: false }, use) : undefined,
      rate: rate ? new SharedRate(this.keeper, rateId, rate, false, level, now) : undefined,
    };
  }

  private wants(name: string): number {
    const group = this.groups.get(name);
    return group ? group.running + group.parked.length + group.away : 0;
  }

  private rebuild(group: Group): void {
    this.release(group.name);
    Object.assign(group, this.limitsOf(group.name, performance.now()));
  }

  private forget(group: Group): void {
    this.groups.delete(group.name);
    this.release(group.name);
  }

  private release(name: string): void {
    this.keeper.remove(`c:${name}`);
    this.keeper.remove(`r:${name}`);
  }
}
