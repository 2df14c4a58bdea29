import { LANES, type Limits, perMs, type QueueDefinition, type Rate, TokenBucket } from '@jetlane/protocol';
import type { HeldTask } from '../held-task.js';
import { GroupLimits } from './groups.js';
import { SharedRate } from './shared-rate.js';
import type { SharedLimit, ShareKeeper } from './shares.js';

/** A rate allows to ask for what it lets start in this time: a pull takes 0.3 to 3 ms, and more on a busy server. */
const AHEAD_MS = 100;

export interface GateSettings {
  readonly limits?: Limits | undefined;
  readonly reserved?: QueueDefinition['reserved'];
  /** Rate of this worker alone. */
  readonly rate?: Rate | undefined;
}

/** What the gate asks the loop. */
export interface GateLoad {
  /** Tasks that this worker could run now if no limit held it back, running ones among them. */
  readonly wants: () => number;
  /** A group has tasks here and no share yet. */
  readonly needShare: () => void;
  /** Tasks that run now. */
  readonly running: () => Iterable<HeldTask>;
}

/** A limit of the queue, and what of it is this worker's now. */
export interface LimitView {
  /** Tasks at a time, or starts per second. */
  readonly limit: number;
  readonly share: number;
}

/** What holds tasks back here. */
export interface GateView {
  readonly concurrency?: LimitView;
  readonly rate?: LimitView;
  /** Starts per second of this worker alone. */
  readonly ownRate?: number;
  /** Tasks that wait for their group. */
  readonly parked: number;
}

/** Says what may start now. A queue without limits and reserved slots has none. Only the fetch loop calls it. */
export class Gate {
  /** Tasks that run, over all lanes. */
  private running = 0;
  private peak = 0;
  private readonly perLane = LANES.map(() => 0);
  /** Slots that are reserved for a lane and those above it, summed up from the top; undefined when there are none. */
  private reserved: number[] | undefined;
  private concurrency: SharedLimit | undefined;
  private rate: SharedRate | undefined;
  private ownRate: TokenBucket | undefined;
  private groups: GroupLimits | undefined;

  constructor(
    private readonly keeper: ShareKeeper,
    private readonly load: GateLoad,
  ) {
    for (const task of load.running()) this.count(task);
  }

  /** Tasks that wait for their group. */
  get parked(): number {
    return this.groups?.parked ?? 0;
  }

  /** What holds tasks back, for the live view. */
  view(now = performance.now()): GateView {
    const { concurrency, rate, ownRate, parked } = this;
    return {
      ...(concurrency ? { concurrency: { limit: concurrency.total, share: concurrency.granted(now) } } : {}),
      ...(rate ? { rate: rate.view(now) } : {}),
      ...(ownRate ? { ownRate: ownRate.rate * 1000 } : {}),
      parked,
    };
  }

  /** Starts that this worker's share of the queue's rate would have allowed and that it did not need. */
  get spare(): number {
    return this.rate?.spare ?? 0;
  }

  /** True when it has limits that are kept together with other workers. */
  get shared(): boolean {
    return this.concurrency !== undefined || this.rate !== undefined || this.groups !== undefined;
  }

  /** Takes settings over, at the beginning or while tasks run. @returns parked tasks that no group limit holds any more */
  configure({ limits, reserved, rate }: GateSettings, now = performance.now()): HeldTask[] {
    this.reserved = sumsOf(reserved);
    if (rate === undefined) this.ownRate = undefined;
    else if (this.ownRate) this.ownRate.setRate(perMs(rate), now);
    else this.ownRate = new TokenBucket(perMs(rate), now, 1);
    this.configureConcurrency(limits?.concurrency);
    this.configureRate(limits?.rate, now);
    return this.configureGroups(limits?.group, now);
  }

  private configureConcurrency(most: number | undefined): void {
    if (most === undefined) {
      this.keeper.remove('concurrency');
      this.concurrency = undefined;
    } else if (this.concurrency) {
      this.concurrency.total = most;
      this.concurrency.cap = Math.min(this.concurrency.cap, most);
    } else {
      const use = { wants: () => this.demand(), inUse: () => this.running };
      this.concurrency = this.keeper.add('concurrency', most, { whole: true, spread: true }, use);
    }
  }

  private configureRate(rate: Rate | undefined, now: number): void {
    if (rate === undefined) {
      this.keeper.remove('rate');
      this.rate = undefined;
    } else if (this.rate) this.rate.setRate(rate);
    else this.rate = new SharedRate(this.keeper, 'rate', rate, true, 0, now);
  }

  private configureGroups(limit: Limits['group'], now: number): HeldTask[] {
    if (limit?.concurrency !== undefined || limit?.rate !== undefined) {
      if (this.groups) this.groups.configure(limit);
      else this.limitGroups(new GroupLimits(this.keeper, limit, this.load.needShare), now);
      return [];
    }
    const freed = this.groups?.takeAll() ?? [];
    this.groups?.close();
    this.groups = undefined;
    return freed;
  }

  private limitGroups(groups: GroupLimits, now: number): void {
    this.groups = groups;
    for (const { gated, headers } of this.load.running()) if (gated && headers.group !== undefined) groups.count(headers.group, now);
  }

  /** True when the queue and this worker let one more task start, of whatever lane and group. */
  open(now: number): boolean {
    if (this.concurrency && this.running >= this.concurrency.granted(now)) return false;
    if (this.ownRate && this.ownRate.available(now) < 1) return false;
    if (!this.rate || this.rate.available(now) >= 1) return true;
    this.rate.starve();
    return false;
  }

  /** Tasks that may start in the time that a pull takes. */
  startable(now: number): number {
    const running = this.concurrency ? this.concurrency.granted(now) - this.running : Number.POSITIVE_INFINITY;
    const own = this.ownRate?.available(now, AHEAD_MS) ?? Number.POSITIVE_INFINITY;
    const shared = this.rate?.available(now, AHEAD_MS) ?? Number.POSITIVE_INFINITY;
    return Math.max(0, Math.min(running, own, shared));
  }

  /** Slots that a lane may still take: those reserved for lanes above it are not among them, but one is always left for all. */
  laneFree(lane: number, slots: number, owed: readonly number[]): number {
    if (!this.reserved) return slots;
    let free = slots;
    let below = 0;
    for (let i = LANES.length - 1; i >= 0; i--) {
      if (i < lane) free = Math.min(free, Math.max(1, slots - this.reserved[i]!) - below);
      below += this.perLane[i]! + owed[i]!;
    }
    return free;
  }

  /** Time until a rate lets the next task start or be asked for, in ms; Infinity when that waits for an event. */
  waitMs(now: number): number {
    let wait = this.groups?.waitMs(now) ?? Number.POSITIVE_INFINITY;
    for (const bucket of [this.ownRate, this.rate]) {
      const until = bucket?.waitMs(now) ?? 0;
      if (until > 0) wait = Math.min(wait, until > AHEAD_MS ? until - AHEAD_MS : until);
    }
    return wait;
  }

  /** True when the task's group lets it start. */
  admits(task: HeldTask, now: number): boolean {
    const { group } = task.headers;
    return this.groups === undefined || group === undefined || this.groups.admits(group, now);
  }

  /** Keeps a task that its group does not let start. @returns how long it should stay away when there is no room, in ms */
  park(task: HeldTask, now: number, runMs: number): number | undefined {
    const group = task.headers.group!;
    return this.groups!.park(task, group, now) ? undefined : this.groups!.away(group, now, runMs);
  }

  /** How long a parked task should stay away that has waited long enough, in ms. */
  away(task: HeldTask, now: number, runMs: number): number {
    return this.groups?.away(task.headers.group!, now, runMs) ?? 0;
  }

  /** Parked tasks that may start now. */
  ready(now: number): HeldTask[] {
    return this.groups?.ready(now) ?? [];
  }

  /** Takes out all that is parked, or what came before a time (ms since 1970). */
  unpark(arrivedBefore = Number.POSITIVE_INFINITY): HeldTask[] {
    return this.groups?.takeOlder(arrivedBefore) ?? [];
  }

  started(task: HeldTask, now: number): void {
    this.count(task);
    this.ownRate?.take();
    this.rate?.take();
    if (this.groups && task.headers.group !== undefined) this.groups.started(task.headers.group, now);
  }

  private count(task: HeldTask): void {
    this.perLane[LANES.indexOf(task.lane)]!++;
    this.peak = Math.max(this.peak, ++this.running);
    task.gated = true;
  }

  /** The handler of a task has ended. */
  ended(task: HeldTask, now: number): void {
    if (!task.gated) return;
    task.gated = false;
    this.perLane[LANES.indexOf(task.lane)]!--;
    this.running--;
    if (this.groups && task.headers.group !== undefined) this.groups.ended(task.headers.group, now);
  }

  /** Before every beat. */
  sweep(now: number): void {
    this.groups?.sweep(now);
  }

  /** Others could have made starts of the queue's rate and did not; who is hungry shares them. */
  offered(starts: number, now: number): void {
    if (starts > 0) this.rate?.give(starts / (1 + this.keeper.hungryOthers('rate', now, 1)));
  }

  /** At least one: a worker that may run nothing asks for nothing, and would never learn that there is work. */
  private demand(): number {
    const demand = Math.max(1, this.peak, this.load.wants());
    this.peak = this.running;
    return demand;
  }
}

function sumsOf(reserved: QueueDefinition['reserved']): number[] | undefined {
  const each = LANES.map((lane) => (lane === 'low' ? 0 : (reserved?.[lane] ?? 0)));
  if (each.every((count) => count === 0)) return undefined;
  let sum = 0;
  return each.map((count) => (sum += count));
}
