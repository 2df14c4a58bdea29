import { Backlog } from './backlog.js';
import type { Entry } from './entry.js';
import { closedError } from './errors.js';
import { plan } from './execute.js';
import { Reporter } from './reporter.js';
import { Gate, Times } from './times.js';

/** A strategy that leaves everything out is asked again after the flush interval, but no sooner than this, in ms. */
const LEAST_HOLD_MS = 50;

/**
 * Says when which entries begin: they wait in the backlog until a batch is due and a slot, the throttle and the rate limit allow it.
 * States: running ↔ paused → stopped; only `pause`, `resume` and `stop` change them.
 */
export abstract class Scheduler<T, R> extends Reporter<T, R> {
  protected readonly backlog = new Backlog<T, R>(this.options.priorityLevels);
  /** Entries that wait for their retry, or to be saved, and how to call that off. */
  protected readonly aside = new Map<Entry<T, R>, () => void>();
  /** An array: the tables that a Set leaves behind keep every batch alive until the next full collection. */
  protected readonly active: (readonly Entry<T, R>[])[] = [];
  protected readonly controller = new AbortController();
  protected readonly waitTimes = new Times();
  protected state: 'running' | 'paused' | 'stopped' = 'running';
  /** Bytes of what waits. */
  protected bytes = 0;
  private readonly throttle = new Gate(1, this.options.throttle);
  private readonly rate = new Gate(this.options.rateLimit.items, this.options.rateLimit.interval);
  private readonly cap = Math.min(this.options.batchSize, this.options.rateLimit.items);
  /** The last place in the order of arrival. */
  protected seq = 0;
  /** Entries up to this place do not wait for their batch to fill. */
  protected forced = 0;
  /** The strategy left everything out: it is not asked before, unless something changes. */
  private heldUntil = 0;
  private steps: (() => void)[] = [];
  private scheduled = false;
  private alarmOff: (() => void) | undefined;
  private tick = 0;
  private lastSize = 0;

  /** Items that wait in this process, also for a retry. */
  get size(): number {
    return this.backlog.size + this.aside.size;
  }

  /** Starts no more batches until `resume`; what runs ends, what comes is accepted. On JetStream: this process only. */
  pause(): void {
    if (this.state === 'running') this.state = 'paused';
  }

  resume(): void {
    if (this.state === 'paused') this.state = 'running';
    this.wake();
  }

  /** Begins nothing more, retries neither, fires the processors' signal, and waits for what runs. */
  protected async stop(timeoutMs: number): Promise<void> {
    this.state = 'stopped';
    for (const off of this.aside.values()) off();
    this.wake();
    const { clock, name } = this.options;
    this.controller.abort(closedError(name));
    const until = clock.now() + timeoutMs;
    for (let rest = timeoutMs; this.active.length > 0 && rest > 0; rest = until - clock.now()) await this.nextStep(rest);
  }

  /** Every entry that is accepted and not settled. */
  protected entries(): Entry<T, R>[] {
    return [...this.backlog.all(), ...this.aside.keys(), ...this.active.flat().filter(({ state }) => state === 'running')];
  }

  /** What waits now does not wait for its batch to fill. @returns its last place in the order of arrival */
  protected hurry(): number {
    this.forced = Math.max(this.forced, this.seq);
    this.heldUntil = 0;
    this.wake();
    return this.seq;
  }

  /** The first place in the order of arrival that runs or waits for its batch; what the strategy left out does not count. */
  protected oldest(): number {
    if (this.state === 'stopped') return Number.POSITIVE_INFINITY;
    const waiting = this.heldUntil > 0 ? undefined : this.backlog.first()?.seq;
    return this.active.flat().reduce((least, { seq }) => Math.min(least, seq), waiting ?? Number.POSITIVE_INFINITY);
  }

  /** Resolves when a batch began or ended, or after so many ms. */
  protected async nextStep(ms?: number): Promise<void> {
    const off = ms === undefined ? undefined : this.options.clock.after(ms, this.wake);
    await new Promise<void>((resolve) => this.steps.push(resolve));
    off?.();
  }

  protected add(entry: Entry<T, R>): void {
    entry.state = 'waiting';
    entry.seq = ++this.seq;
    // Once per burst, and whole milliseconds, which are numbers that need no memory of their own.
    if (!this.scheduled) this.tick = Math.floor(this.options.clock.now());
    entry.since = this.tick;
    // What was aside is counted.
    if (!(this.aside.size > 0 && this.aside.delete(entry))) this.bytes += entry.bytes;
    this.heldUntil = 0;
    this.backlog.push(entry);
    const { size } = this.backlog;
    if (size === 1 || size >= this.cap || this.options.hooks.onQueueSizeChange) this.wake();
  }

  protected setAside(entry: Entry<T, R>, off: () => void): void {
    this.bytes += entry.bytes;
    this.aside.set(entry, off);
  }

  protected finish(entries: readonly Entry<T, R>[]): void {
    this.active.splice(this.active.indexOf(entries), 1);
    this.heldUntil = 0;
    this.wake();
  }

  /** Has a batch processed, and calls `finish`. */
  protected abstract run(entries: readonly Entry<T, R>[], now: number): void;

  protected readonly wake = (): void => {
    if (!this.scheduled) queueMicrotask(this.pump);
    this.scheduled = true;
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
      const entries = this.options.batchingStrategy ? this.planned(now) : this.backlog.take(this.cap);
      if (entries.length > 0) this.begin(entries, now);
    }
    const { size, steps } = this;
    if (size !== this.lastSize) this.tell('onQueueSizeChange', size);
    this.lastSize = size;
    this.steps = [];
    for (const step of steps) step();
  };

  /** How long the next batch must wait. */
  private waitMs(now: number): number {
    const first = this.backlog.first()!;
    const full = this.backlog.size >= this.cap || first.seq <= this.forced;
    const due = full ? 0 : first.since + this.options.flushInterval - now;
    const rate = this.rate.waitMs(now, Math.min(this.backlog.size, this.cap));
    return Math.max(this.heldUntil - now, due, this.throttle.waitMs(now, 1), rate);
  }

  private planned(now: number): Entry<T, R>[] {
    const waiting = this.backlog.take(this.backlog.size);
    const chosen = this.ask('batchingStrategy', () => plan(waiting, this.options, this.cap), []);
    if (chosen.length === 0) this.heldUntil = now + Math.max(LEAST_HOLD_MS, this.options.flushInterval);
    const gone = new Set(chosen);
    for (const entry of waiting) if (!gone.has(entry)) this.backlog.push(entry);
    return chosen;
  }

  private begin(entries: readonly Entry<T, R>[], now: number): void {
    this.throttle.pass(now, 1);
    this.rate.pass(now, entries.length);
    this.active.push(entries);
    for (const entry of entries) {
      entry.state = 'running';
      this.bytes -= entry.bytes;
      this.waitTimes.record(now - entry.since);
    }
    this.run(entries, now);
  }
}
