import { type CountedOutcome, LANES, type Lane, type LaneMetrics, type MetricsSnapshot } from '@jetlane/protocol';
import { Histogram } from '@jetlane/telemetry';
import { addCounts, growth, noCounts, type SomeCounts } from './counts.js';

/**
 * In place of a worker's id, the subject of a queue's base: the sum of the workers that are gone. It lies in the stream
 * `metrics` beside the snapshots (`metrics.<queue>._base`), so no worker may have this id.
 */
export const BASE_ID = '_base';

/** How many workers a base remembers as folded in. */
const REMEMBERED = 500;

/** What of a worker is contained in a base. */
export interface Folded {
  readonly startedAt: number;
  /** When it was folded in, ms since 1970. */
  readonly at: number;
  readonly counts: Readonly<Partial<Record<Lane, SomeCounts>>>;
}

/** The sum of the workers of a queue that are gone. */
export interface BaseRecord {
  readonly queue: string;
  readonly at: number;
  readonly lanes: Readonly<Partial<Record<Lane, LaneMetrics>>>;
  /** Workers that are contained, by id: a snapshot of theirs counts only for what it has more. */
  readonly folded: Readonly<Record<string, Folded>>;
}

export const emptyBase = (queue: string): BaseRecord => ({ queue, at: 0, lanes: {}, folded: {} });

/** The base with the last words of workers that are gone added. Adding the same word twice changes nothing. */
export function foldInto(base: BaseRecord, snapshots: readonly MetricsSnapshot[], now: number): BaseRecord {
  const lanes = { ...base.lanes };
  const folded = { ...base.folded };
  for (const snapshot of snapshots) {
    const before = sameRun(folded[snapshot.worker], snapshot);
    for (const lane of LANES) {
      const word = snapshot.lanes[lane];
      if (word) lanes[lane] = sumOf(lanes[lane], word, before?.counts[lane] ?? {}, before !== undefined);
    }
    folded[snapshot.worker] = { startedAt: snapshot.startedAt, at: now, counts: countsOf(snapshot) };
  }
  return { queue: base.queue, at: now, lanes, folded: newest(folded) };
}

/** The entry, if it is about this run of the worker. */
export function sameRun(folded: Folded | undefined, snapshot: { readonly startedAt: number }): Folded | undefined {
  return folded?.startedAt === snapshot.startedAt ? folded : undefined;
}

function sumOf(sum: LaneMetrics | undefined, word: LaneMetrics, before: SomeCounts, known: boolean): LaneMetrics {
  const counts = noCounts();
  addCounts(counts, sum?.counts ?? {});
  addCounts(counts, growth(word.counts, before));
  // The times of a worker that came back after it had been folded in are not told apart from those that are contained.
  return {
    counts: sparse(counts),
    ...optional('wait', known ? sum?.wait : merged(sum?.wait, word.wait)),
    ...optional('run', known ? sum?.run : merged(sum?.run, word.run)),
  };
}

function merged(a: string | undefined, b: string | undefined): string | undefined {
  if (!a || !b) return a ?? b;
  const sum = Histogram.decode(a);
  sum.add(Histogram.decode(b));
  return sum.encode();
}

const optional = <K extends string>(key: K, value: string | undefined): Partial<Record<K, string>> =>
  value ? ({ [key]: value } as Record<K, string>) : {};

const sparse = (counts: Record<CountedOutcome, number>): SomeCounts =>
  Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));

function countsOf(snapshot: MetricsSnapshot): Partial<Record<Lane, SomeCounts>> {
  return Object.fromEntries(Object.entries(snapshot.lanes).map(([lane, { counts }]) => [lane, counts]));
}

function newest(folded: Readonly<Record<string, Folded>>): Record<string, Folded> {
  const entries = Object.entries(folded);
  if (entries.length <= REMEMBERED) return { ...folded };
  return Object.fromEntries(entries.sort(([, a], [, b]) => b.at - a.at).slice(0, REMEMBERED));
}
