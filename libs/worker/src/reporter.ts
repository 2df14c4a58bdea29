import { hostname } from 'node:os';
import type { Connection } from '@jetlane/jetstream';
import type { CountedOutcome, Heartbeat, Lane, LaneMetrics, MetricsSnapshot, RunningTask } from '@jetlane/protocol';
import { Histogram, HopHistograms, observeWorker } from '@jetlane/telemetry';
import type { HeldTask } from './held-task.js';
import type { CompiledOptions } from './options.js';
import { ProcessMeter } from './process-load.js';
import { Utilisation } from './utilisation.js';

const INTERVAL_MS = 1000;
const MOST_RUNNING = 1000;
/** Progress in one heartbeat, in characters of JSON: the rest of it, and what UTF-8 adds, must fit into a message too. */
const MOST_PROGRESS = 128 * 1024;
/** The stream forgets what is old: an unchanged snapshot is stored again this often. */
const REFRESH_MS = 3_600_000;

interface LaneCounters {
  readonly counts: Partial<Record<CountedOutcome, number>>;
  readonly wait: Histogram;
  readonly run: Histogram;
  readonly hops: HopHistograms;
}

/** What the reporter asks the worker. */
export interface Load {
  readonly busy: () => number;
  readonly slots: () => number;
  readonly running: () => Iterable<HeldTask>;
}

/**
 * Tells the world about a worker once a second: a heartbeat on core NATS, and its counts and histograms since the start
 * as the last message of its subject in the stream `metrics`. Tasks are counted here, never one by one elsewhere.
 */
export class Reporter {
  private readonly lanes = new Map<Lane, LaneCounters>();
  private readonly startedAt = Date.now();
  private readonly process = new ProcessMeter();
  private readonly utilisation = new Utilisation();
  private timer: NodeJS.Timeout | undefined;
  private unsubscribe: (() => void) | undefined;
  private unobserve: (() => void) | undefined;
  private changed = true;
  private storing = false;
  private storedAt = 0;
  private lastMeasured: { readonly at: number; readonly figures: Pick<Heartbeat, 'utilisation' | 'load'> } | undefined;

  constructor(
    private readonly connection: Connection,
    private readonly options: CompiledOptions,
    private readonly load: Load,
  ) {}

  start(): void {
    this.process.start();
    this.timer = setInterval(() => this.report(), INTERVAL_MS);
    this.unobserve = observeWorker(() => ({ queue: this.options.queue, lanes: this.counts() }));
    this.unsubscribe = this.connection.subscribe(this.connection.names.heartbeatPing(), () => this.beat());
    this.report();
  }

  /** The last report says that the worker stops. Resolves when the last snapshot is stored or cannot be. */
  stop(): Promise<void> {
    clearInterval(this.timer);
    this.unsubscribe?.();
    this.unobserve?.();
    this.beat(true);
    this.process.stop();
    return this.snapshot();
  }

  /** Counts an outcome. Times are those of the task. */
  count(task: HeldTask, outcome: CountedOutcome): void {
    this.changed = true;
    const counters = this.countersOf(task.lane);
    counters.counts[outcome] = (counters.counts[outcome] ?? 0) + 1;
    counters.hops.record(task.moments(Date.now()));
    if (task.startedAt === 0) return;
    counters.wait.record(Math.max(0, task.startedAt - task.delivery.storedAt) * 1000);
    counters.run.record(task.runMicros);
    this.utilisation.ran(task.runMicros / 1000);
  }

  private *counts(): Iterable<readonly [Lane, LaneCounters['counts']]> {
    for (const [lane, { counts }] of this.lanes) yield [lane, counts];
  }

  /** How long the hops took since the start, by lane. */
  *hopTimes(): Iterable<readonly [Lane, HopHistograms]> {
    for (const [lane, { hops }] of this.lanes) yield [lane, hops];
  }

  private countersOf(lane: Lane): LaneCounters {
    let counters = this.lanes.get(lane);
    if (!counters) {
      counters = { counts: {}, wait: new Histogram(), run: new Histogram(), hops: new HopHistograms() };
      this.lanes.set(lane, counters);
    }
    return counters;
  }

  private report(): void {
    this.beat();
    // One at a time: an earlier one that is sent again after a reconnect must not replace a later one.
    if (!this.storing && (this.changed || Date.now() - this.storedAt > REFRESH_MS)) void this.snapshot();
  }

  private beat(stopping = false): void {
    const { connection, options } = this;
    const heartbeat: Heartbeat = {
      worker: options.name,
      queue: options.queue,
      host: hostname(),
      pid: process.pid,
      version: options.version,
      startedAt: this.startedAt,
      at: Date.now(),
      slots: this.load.slots(),
      busy: this.load.busy(),
      types: [...options.handlers.keys()],
      running: this.runningTasks(),
      ...this.measured(),
      ...(stopping ? { stopping } : {}),
    };
    connection.send(connection.names.heartbeat(options.queue, options.name), JSON.stringify(heartbeat));
  }

  /** Measured over the time since the last report: an answer to a ping in between repeats it. */
  private measured(): Pick<Heartbeat, 'utilisation' | 'load'> {
    const now = Date.now();
    if (this.lastMeasured && now - this.lastMeasured.at < INTERVAL_MS / 2) return this.lastMeasured.figures;
    const starts = [...this.load.running()].flatMap(({ startedAt }) => (startedAt > 0 ? [startedAt] : []));
    const figures = { utilisation: this.utilisation.read(now, this.load.slots(), starts), load: this.process.read() };
    this.lastMeasured = { at: now, figures };
    return figures;
  }

  private runningTasks(): Heartbeat['running'] {
    const list: RunningTask[] = [];
    let left = MOST_PROGRESS;
    for (const { key, lane, headers, startedAt, notes } of this.load.running()) {
      // It has a slot and waits: for the look at an earlier delivery, or for its batch.
      if (startedAt === 0) continue;
      const run = { key, lane, hop: headers.hop, attempt: headers.attempt, startedAt };
      left -= notes?.progressSize ?? 0;
      list.push(notes?.progressSize && left >= 0 ? { ...run, progress: notes.progress } : run);
      if (list.length >= MOST_RUNNING) break;
    }
    return list;
  }

  /** Losing a snapshot costs nothing: the next one holds everything since the start. */
  private async snapshot(): Promise<void> {
    this.storing = true;
    this.changed = false;
    this.storedAt = Date.now();
    const { connection, options } = this;
    const lanes: Partial<Record<Lane, LaneMetrics>> = {};
    for (const [lane, { counts, wait, run }] of this.lanes) lanes[lane] = { counts: { ...counts }, wait: wait.encode(), run: run.encode() };
    const snapshot: MetricsSnapshot = {
      worker: options.name,
      queue: options.queue,
      startedAt: this.startedAt,
      at: Date.now(),
      slots: this.load.slots(),
      busy: this.load.busy(),
      lanes,
    };
    try {
      await connection.publish(connection.names.metric(options.queue, options.name), Buffer.from(JSON.stringify(snapshot)));
    } catch {
      this.changed = true;
    }
    this.storing = false;
  }
}
