import { Backlog } from './backlog.js';
import { Alarm } from './clock.js';
import type { CompiledOptions } from './compile.js';
import type { Entry } from './entry.js';
import { type Batch, execute, plan } from './execute.js';
import { Gate } from './gate.js';
import type { Reporter } from './hooks.js';
import { Times } from './meter.js';
import type { BatchResult } from './options.js';

/** What the engine leaves to the queue. */
export interface Outlets<T, R> {
  /** Decides what becomes of an item after its batch. */
  readonly settle: (entry: Entry<T, R>, result: BatchResult<R>) => void;
  /** A batch began or ended. */
  readonly stepped: () => void;
}

/** A strategy that leaves everything out is asked again after the flush interval, but no sooner than this, in ms. */
const LEAST_HOLD_MS = 50;

/**
 * The core loop: entries wait in the backlog, or for their retry; a batch begins when it is due and a slot, the throttle and
 * the rate limit allow it. States: running ↔ paused → stopped; only pause, resume and stop change them.
 */
export class Engine<T, R> {
  /** An array: the tables that a Set leaves behind keep every batch alive until the next full collection. */
  readonly active: Batch<T, R>[] = [];
  readonly waitTimes = new Times();
  readonly runTimes = new Times();
  /** Bytes of what waits. */
  bytes = 0;
  batches = 0;
  delayed = 0;
  running = 0;
  private readonly backlog: Backlog<T, R>;
  private readonly gate: Gate;
  private readonly alarm: Alarm;
  private readonly retries = new Map<number, { readonly entries: Entry<T, R>[]; readonly off: () => void }>();
  private readonly cap: number;
  private state: 'running' | 'paused' | 'stopped' = 'running';
  private seq = 0;
  /** Entries up to this place in the order of arrival do not wait for their batch to fill. */
  private forced = 0;
  /** The strategy left everything out: it is not asked until this changes. */
  private held: { readonly seq: number; readonly ended: number; readonly until: number } | undefined;
  private flushes: { readonly mark: number; readonly done: () => void }[] = [];
  private scheduled = false;
  private tick = 0;
  private ended = 0;
  private lastSize = 0;

  constructor(
    private readonly options: CompiledOptions<T, R>,
    private readonly reporter: Reporter<T, R>,
    private readonly outlets: Outlets<T, R>,
    private readonly signal: AbortSignal,
  ) {
    this.backlog = new Backlog(options.levels);
    this.gate = new Gate(options.throttleMs, options.rate);
    this.cap = Math.min(options.batchSize, options.rate?.items ?? options.batchSize);
    this.alarm = new Alarm(options.clock, () => this.pump());
  }

  /** Entries that wait, also for their retry. */
  get size(): number {
    return this.backlog.size + this.delayed;
  }

  add(entry: Entry<T, R>): void {
    entry.seq = ++this.seq;
    // Once per burst, and whole milliseconds, which are numbers that need no memory of their own.
    if (!this.scheduled) this.tick = Math.floor(this.options.clock.now());
    entry.since = this.tick;
    this.bytes += entry.bytes;
    this.backlog.push(entry);
    const { size } = this.backlog;
    if (size === 1 || size >= this.cap || entry.seq <= this.forced || this.reporter.hooks.onQueueSizeChange) this.wake();
  }

  /** Adds an entry after a delay. */
  addLater(entry: Entry<T, R>, ms: number): void {
    entry.state = 'waiting';
    if (this.state === 'stopped') return this.backlog.push(entry);
    this.delayed++;
    this.bytes += entry.bytes;
    const now = this.options.clock.now();
    // Whole milliseconds, rounded up: items that come due together share a timer, and none comes early.
    const due = Math.ceil(now + ms);
    const known = this.retries.get(due);
    if (known) return void known.entries.push(entry);
    this.retries.set(due, { entries: [entry], off: this.options.clock.after(due - now, () => this.retryDue(due)) });
  }

  dropOldest(): Entry<T, R> | undefined {
    const entry = this.backlog.dropOldest();
    if (entry) this.bytes -= entry.bytes;
    return entry;
  }

  /** Every entry that is not settled. */
  entries(): Entry<T, R>[] {
    const delayed = [...this.retries.values()].flatMap(({ entries }) => entries);
    const running = this.active.flatMap(({ entries }) => entries).filter(({ state }) => state === 'running');
    return [...this.backlog.all(), ...delayed, ...running];
  }

  pause(): void {
    if (this.state === 'running') this.state = 'paused';
  }

  resume(): void {
    if (this.state === 'paused') this.state = 'running';
    this.wake();
  }

  /** Nothing begins any more. */
  stop(): void {
    this.state = 'stopped';
    this.alarm.stop();
    for (const { off } of this.retries.values()) off();
    for (const { done } of this.flushes.splice(0)) done();
  }

  /** What waits now does not wait for its batch to fill; resolves when its batches have ended. */
  flush(): Promise<void> {
    this.forced = Math.max(this.forced, this.seq);
    this.held = undefined;
    this.wake();
    return new Promise((done) => this.flushes.push({ mark: this.seq, done }));
  }

  /** From now on nothing waits for its batch to fill, or until told otherwise. */
  hurry(on: boolean): void {
    this.forced = on ? Number.POSITIVE_INFINITY : this.seq;
    this.wake();
  }

  private wake(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    queueMicrotask(this.pump);
  }

  private readonly pump = (): void => {
    this.scheduled = false;
    while (this.state === 'running' && this.active.length < this.options.concurrency) {
      const now = this.options.clock.now();
      const wait = this.waitMs(now);
      if (wait > 0) {
        this.alarm.in(wait);
        break;
      }
      const entries = this.options.strategy ? this.planned(now) : this.backlog.take(this.cap);
      if (entries.length > 0) void this.run(this.begin(entries, now));
    }
    this.announce();
  };

  /** How long the next batch must wait; infinite when only a new event can change it. */
  private waitMs(now: number): number {
    const { backlog, held, options } = this;
    const first = backlog.first();
    if (!first) return Number.POSITIVE_INFINITY;
    const unchanged = held?.seq === this.seq && held.ended === this.ended;
    const hold = unchanged ? held.until - now : 0;
    const full = backlog.size >= this.cap || first.seq <= this.forced;
    const due = full ? 0 : first.since + options.flushMs - now;
    return Math.max(hold, due, this.gate.waitMs(now, Math.min(backlog.size, this.cap)));
  }

  private planned(now: number): Entry<T, R>[] {
    let chosen: Entry<T, R>[] = [];
    try {
      chosen = plan(this.backlog.all(), this.options, this.cap);
    } catch (error) {
      this.reporter.problem(error, { during: 'batchingStrategy' });
    }
    if (chosen.length === 0) this.held = { seq: this.seq, ended: this.ended, until: now + Math.max(LEAST_HOLD_MS, this.options.flushMs) };
    for (const entry of chosen) entry.state = 'running';
    if (chosen.length > 0) this.backlog.sweep();
    return chosen;
  }

  private begin(entries: readonly Entry<T, R>[], now: number): Batch<T, R> {
    this.gate.start(now, entries.length);
    let firstSeq = Number.POSITIVE_INFINITY;
    for (const entry of entries) {
      entry.state = 'running';
      this.bytes -= entry.bytes;
      this.waitTimes.record(now - entry.since);
      if (entry.seq < firstSeq) firstSeq = entry.seq;
    }
    const batch = { number: ++this.batches, entries, items: entries.map(({ item }) => item), firstSeq };
    this.active.push(batch);
    this.running += entries.length;
    this.outlets.stepped();
    return batch;
  }

  private async run(batch: Batch<T, R>): Promise<void> {
    const { onBatchStart, onBatchComplete } = this.reporter.hooks;
    const { number, items, entries } = batch;
    if (onBatchStart) this.reporter.guard('onBatchStart', () => onBatchStart({ batch: number, items }));
    const startedAt = this.options.clock.now();
    const results = await execute(batch, this.options, this.signal);
    const durationMs = this.options.clock.now() - startedAt;
    this.runTimes.record(durationMs);
    // Whoever closed the queue without waiting has settled them.
    for (let index = 0; index < entries.length; index++)
      if (entries[index]!.state === 'running') this.outlets.settle(entries[index]!, results[index]!);
    this.active.splice(this.active.indexOf(batch), 1);
    this.running -= entries.length;
    this.ended++;
    if (onBatchComplete) {
      const succeeded = results.filter(({ success }) => success).length;
      const about = { batch: number, items, succeeded, failed: items.length - succeeded, durationMs };
      this.reporter.guard('onBatchComplete', () => onBatchComplete(about));
    }
    this.outlets.stepped();
    this.pump();
  }

  private retryDue(due: number): void {
    const entries = this.retries.get(due)?.entries ?? [];
    this.retries.delete(due);
    this.delayed -= entries.length;
    for (const entry of entries) {
      this.bytes -= entry.bytes;
      this.add(entry);
    }
  }

  private announce(): void {
    const { onQueueSizeChange } = this.reporter.hooks;
    const { size } = this;
    if (onQueueSizeChange && size !== this.lastSize) this.reporter.guard('onQueueSizeChange', () => onQueueSizeChange(size));
    this.lastSize = size;
    if (this.flushes.length === 0) return;
    // What the strategy left out is not waited for.
    const waiting = (this.held?.seq !== this.seq && this.backlog.first()?.seq) || Number.POSITIVE_INFINITY;
    const first = Math.min(waiting, ...this.active.map(({ firstSeq }) => firstSeq));
    const over = this.flushes.filter(({ mark }) => mark < first);
    this.flushes = this.flushes.filter(({ mark }) => mark >= first);
    for (const { done } of over) done();
  }
}
