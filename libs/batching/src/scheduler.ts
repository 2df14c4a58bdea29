import { Backlog } from './backlog.js';
import type { CompiledOptions } from './compile.js';
import type { Entry } from './entry.js';
import { plan } from './execute.js';
import { Gate } from './gate.js';
import { Times } from './meter.js';
import { Reporter } from './reporter.js';

/** A strategy that leaves everything out is asked again after the flush interval, but no sooner than this, in ms. */
const LEAST_HOLD_MS = 50;

/**
 * Says when which entries begin: they wait in the backlog until a batch is due and a slot, the throttle and the rate limit allow it.
 * States: running ↔ paused → stopped; only `turn` changes them.
 */
export abstract class Scheduler<T, R> {
  readonly reporter: Reporter<T, R>;
  /** An array: the tables that a Set leaves behind keep every batch alive until the next full collection. */
  readonly active: (readonly Entry<T, R>[])[] = [];
  /** Entries that wait for their retry, or to be saved, and how to call that off. */
  readonly aside = new Map<Entry<T, R>, () => void>();
  readonly waitTimes = new Times();
  /** Bytes of what waits. */
  bytes = 0;
  /** While there are any, no batch waits until it is full. */
  drains = 0;
  protected readonly backlog: Backlog<T, R>;
  protected state: 'running' | 'paused' | 'stopped' = 'running';
  private readonly throttle: Gate;
  private readonly rate: Gate;
  private readonly cap: number;
  private seq = 0;
  /** Entries up to this place in the order of arrival do not wait for their batch to fill. */
  private forced = 0;
  /** The strategy left everything out: it is not asked before, unless something changes. */
  private heldUntil = 0;
  private steps: (() => void)[] = [];
  private scheduled = false;
  private alarmOff: (() => void) | undefined;
  private tick = 0;
  private lastSize = 0;

  constructor(protected readonly options: CompiledOptions<T, R>) {
    this.reporter = new Reporter(options.name, options.hooks);
    this.backlog = new Backlog(options.levels);
    this.throttle = new Gate(1, options.throttleMs);
    this.rate = new Gate(options.rateItems, options.rateMs);
    this.cap = Math.min(options.batchSize, options.rateItems);
  }

  /** Entries that wait. */
  get size(): number {
    return this.backlog.size + this.aside.size;
  }

  get running(): number {
    return this.active.reduce((sum, { length }) => sum + length, 0);
  }

  /** Every entry that is accepted and not settled. */
  entries(): Entry<T, R>[] {
    return [...this.backlog.all(), ...this.aside.keys(), ...this.active.flat().filter(({ state }) => state === 'running')];
  }

  turn(to: 'running' | 'paused' | 'stopped'): void {
    if (this.state !== 'stopped') this.state = to;
    if (to === 'stopped') for (const off of this.aside.values()) off();
    this.wake();
  }

  /** What waits now does not wait for its batch to fill. @returns its last place in the order of arrival */
  hurry(): number {
    this.forced = this.seq;
    this.heldUntil = 0;
    this.wake();
    return this.seq;
  }

  /** The first place in the order of arrival that runs or waits for its batch; what the strategy left out does not count. */
  oldest(): number {
    if (this.state === 'stopped') return Number.POSITIVE_INFINITY;
    const waiting = this.heldUntil > 0 ? undefined : this.backlog.first()?.seq;
    return this.active.flat().reduce((least, { seq }) => Math.min(least, seq), waiting ?? Number.POSITIVE_INFINITY);
  }

  /** Resolves when a batch began or ended, or after so many ms. */
  async nextStep(ms?: number): Promise<void> {
    const off = ms === undefined ? undefined : this.options.clock.after(ms, this.wake);
    await new Promise<void>((resolve) => this.steps.push(resolve));
    off?.();
  }

  protected add(entry: Entry<T, R>): void {
    entry.seq = ++this.seq;
    // Once per burst, and whole milliseconds, which are numbers that need no memory of their own.
    if (!this.scheduled) this.tick = Math.floor(this.options.clock.now());
    entry.since = this.tick;
    this.bytes += entry.bytes;
    this.heldUntil = 0;
    this.backlog.push(entry);
    const { size } = this.backlog;
    if (size === 1 || size >= this.cap || this.drains > 0 || this.options.hooks.onQueueSizeChange) this.wake();
  }

  protected setAside(entry: Entry<T, R>, off: () => void): void {
    this.bytes += entry.bytes;
    this.aside.set(entry, off);
  }

  protected takeBack(entry: Entry<T, R>): void {
    this.bytes -= entry.bytes;
    this.aside.delete(entry);
  }

  protected finish(entries: readonly Entry<T, R>[]): void {
    this.active.splice(this.active.indexOf(entries), 1);
    this.heldUntil = 0;
    this.wake();
  }

  /** Has a batch processed, and calls `finish`. */
  protected abstract run(entries: readonly Entry<T, R>[], now: number): void;

  readonly wake = (): void => {
    if (this.scheduled) return;
    this.scheduled = true;
    queueMicrotask(this.pump);
  };

  private readonly pump = (): void => {
    this.scheduled = false;
    this.alarmOff?.();
    this.alarmOff = undefined;
    while (this.state === 'running' && this.active.length < this.options.concurrency && this.backlog.size > 0) {
      const now = this.options.clock.now();
      const wait = this.waitMs(now);
      if (wait > 0) {
        this.alarmOff = this.options.clock.after(wait, this.pump);
        break;
      }
      const entries = this.options.strategy ? this.planned(now) : this.backlog.take(this.cap);
      if (entries.length > 0) this.begin(entries, now);
    }
    const { size, steps } = this;
    if (size !== this.lastSize) this.reporter.tell('onQueueSizeChange', size);
    this.lastSize = size;
    this.steps = [];
    for (const step of steps) step();
  };

  /** How long the next batch must wait. */
  private waitMs(now: number): number {
    const first = this.backlog.first()!;
    const full = this.backlog.size >= this.cap || first.seq <= this.forced || this.drains > 0;
    const due = full ? 0 : first.since + this.options.flushMs - now;
    const rate = this.rate.waitMs(now, Math.min(this.backlog.size, this.cap));
    return Math.max(this.heldUntil - now, due, this.throttle.waitMs(now, 1), rate);
  }

  private planned(now: number): Entry<T, R>[] {
    let chosen: Entry<T, R>[] = [];
    try {
      chosen = plan(this.backlog.all(), this.options, this.cap);
    } catch (error) {
      void this.reporter.problem(error, { during: 'batchingStrategy' });
    }
    if (chosen.length === 0) this.heldUntil = now + Math.max(LEAST_HOLD_MS, this.options.flushMs);
    else this.backlog.remove(new Set(chosen));
    return chosen;
  }

  private begin(entries: readonly Entry<T, R>[], now: number): void {
    this.throttle.pass(now, 1);
    this.rate.pass(now, entries.length);
    this.active.push(entries);
    let first = 0;
    for (let index = 0; index < entries.length; index++) {
      const { bytes, since } = entries[index]!;
      entries[index]!.state = 'running';
      this.bytes -= bytes;
      // Those that came together are counted together.
      if (since === entries[index + 1]?.since) continue;
      this.waitTimes.record(now - since, index + 1 - first);
      first = index + 1;
    }
    this.run(entries, now);
  }
}
