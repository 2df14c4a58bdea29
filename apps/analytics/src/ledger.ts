import { LANES, type Lane, type LaneMetrics, type MetricsSnapshot } from '@jetlane/protocol';
import { Histogram } from '@jetlane/telemetry';
import { type BaseRecord, type Folded, sameRun } from './base-record.js';
import { growth, type SomeCounts } from './counts.js';
import { LaneSeries, type Progress } from './lane-series.js';

/** The last word of a worker, or what a base says of it. */
interface LastWord {
  readonly startedAt: number;
  readonly lanes: Readonly<Partial<Record<Lane, LastLane>>>;
}

interface LastLane {
  readonly counts: SomeCounts;
  readonly wait?: string | undefined;
  readonly run?: string | undefined;
  /** The times before this word are not known; only later ones can be told apart. */
  readonly timesUnknown?: boolean;
}

type Lanes = Map<Lane, LaneSeries>;

/**
 * Adds up what workers report. A report is cumulative, so the same one twice, or after a gap, does no harm. Everything
 * before {@link goLive} counts into the totals alone; later progress counts into the window too.
 */
export class Ledger {
  private readonly queues = new Map<string, Lanes>();
  private readonly words = new Map<string, LastWord>();
  private readonly folded = new Map<string, Readonly<Record<string, Folded>>>();
  /** What was stored before anybody looked; it waits until all of it is there. */
  private stored: { readonly bases: Map<string, BaseRecord>; readonly snapshots: MetricsSnapshot[] } | undefined = {
    bases: new Map(),
    snapshots: [],
  };
  private liveSince = 0;

  constructor(
    private readonly windowSeconds: number,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** What is stored has been read: from here on, progress is news. */
  goLive(): void {
    const { bases, snapshots } = this.stored ?? { bases: new Map<string, BaseRecord>(), snapshots: [] };
    this.stored = undefined;
    // Bases first: they say what of the snapshots they contain already.
    for (const base of bases.values()) this.begin(base);
    for (const snapshot of snapshots) this.count(snapshot, (series, progress) => series.addTotal(progress));
    this.liveSince = this.now();
  }

  /** A worker's report. */
  report(snapshot: MetricsSnapshot): void {
    if (this.stored) {
      this.stored.snapshots.push(snapshot);
      return;
    }
    const second = this.second();
    this.count(snapshot, (series, progress) => series.add(progress, second));
  }

  /** A queue's base, at the start or after somebody folded workers into it. */
  base(record: BaseRecord): void {
    if (this.stored) {
      this.stored.bases.set(record.queue, record);
      return;
    }
    for (const [worker, folded] of Object.entries(record.folded)) this.settleFolded(record.queue, worker, folded);
    this.folded.set(record.queue, record.folded);
  }

  queueNames(): string[] {
    return [...this.queues.keys()].sort();
  }

  lanes(queue: string): ReadonlyMap<Lane, LaneSeries> {
    return this.queues.get(queue) ?? new Map();
  }

  /** The present second of the window's clock. */
  second(): number {
    return Math.floor(this.now() / 1000);
  }

  /** How much of the window has been watched so far, in seconds; at least one. */
  watchedSeconds(): number {
    return Math.min(this.windowSeconds, Math.max(1, (this.now() - this.liveSince) / 1000));
  }

  private begin({ queue, lanes, folded }: BaseRecord): void {
    for (const lane of LANES) {
      const sum = lanes[lane];
      if (sum) this.series(queue, lane).addTotal(progressOf(sum, undefined));
    }
    this.folded.set(queue, folded);
  }

  private count(snapshot: MetricsSnapshot, add: (series: LaneSeries, progress: Progress) => void): void {
    const key = keyOf(snapshot.queue, snapshot.worker);
    const before = this.before(key, snapshot);
    for (const lane of LANES) {
      const word = snapshot.lanes[lane];
      if (word && !unchanged(word, before?.lanes[lane])) add(this.series(snapshot.queue, lane), progressOf(word, before?.lanes[lane]));
    }
    this.words.set(key, { startedAt: snapshot.startedAt, lanes: snapshot.lanes });
  }

  private before(key: string, snapshot: MetricsSnapshot): LastWord | undefined {
    const word = this.words.get(key);
    if (word?.startedAt === snapshot.startedAt) return word;
    const folded = sameRun(this.folded.get(snapshot.queue)?.[snapshot.worker], snapshot);
    return folded && asWord(folded);
  }

  /** A worker was folded into the base: its counts are there now. What we had not heard of it is added to the totals. */
  private settleFolded(queue: string, worker: string, folded: Folded): void {
    const key = keyOf(queue, worker);
    const word = this.words.get(key);
    if (!word || word.startedAt !== folded.startedAt) return;
    for (const lane of LANES) {
      const counts = folded.counts[lane];
      if (counts) this.series(queue, lane).addTotal({ counts: growth(counts, word.lanes[lane]?.counts) });
    }
    this.words.delete(key);
  }

  private series(queue: string, lane: Lane): LaneSeries {
    const lanes: Lanes = this.queues.get(queue) ?? new Map();
    this.queues.set(queue, lanes);
    const series = lanes.get(lane) ?? new LaneSeries(this.windowSeconds);
    lanes.set(lane, series);
    return series;
  }
}

const keyOf = (queue: string, worker: string): string => `${queue}.${worker}`;

function asWord({ startedAt, counts }: Folded): LastWord {
  const lanes = Object.fromEntries(Object.entries(counts).map(([lane, known]) => [lane, { counts: known, timesUnknown: true }]));
  return { startedAt, lanes };
}

const unchanged = (word: LaneMetrics, before: LastLane | undefined): boolean =>
  before !== undefined &&
  word.run === before.run &&
  word.wait === before.wait &&
  Object.values(growth(word.counts, before.counts)).every((grown) => grown === 0);

function progressOf(word: LaneMetrics, before: LastLane | undefined): Progress {
  const counts = growth(word.counts, before?.counts);
  if (before?.timesUnknown) return { counts };
  const wait = difference(word.wait, before?.wait);
  const run = difference(word.run, before?.run);
  return { counts, ...(wait ? { wait } : {}), ...(run ? { run } : {}) };
}

/** A histogram that cannot be read counts as none: one bad report must not stop the others. */
function difference(later: string | undefined, earlier: string | undefined): Histogram | undefined {
  if (!later || later === earlier) return undefined;
  try {
    const histogram = Histogram.decode(later);
    return earlier ? histogram.subtract(Histogram.decode(earlier)) : histogram;
  } catch {
    return undefined;
  }
}
