import hdr from 'hdr-histogram-js';

/** Longest time that a histogram tells apart: one hour, in microseconds. Longer ones count as an hour. */
export const LONGEST_MICROSECONDS = 3_600_000_000;

const DIGITS = 2;
/** HDR layout for two significant digits: octaves of 128 cells, each at most 0.8 % wide; the first 256 cells are exact. */
const CELLS_PER_OCTAVE_LOG2 = 7;
const LENGTH = indexOf(LONGEST_MICROSECONDS) + 1;

function indexOf(value: number): number {
  const octave = 24 - Math.clz32(value | 255);
  return (octave << CELLS_PER_OCTAVE_LOG2) + (value >>> octave);
}

/** Lowest value of a cell. */
function lowest(index: number): number {
  const octave = Math.max(0, (index >>> CELLS_PER_OCTAVE_LOG2) - 1);
  return (index - (octave << CELLS_PER_OCTAVE_LOG2)) * 2 ** octave;
}

/** Highest value of a cell. */
const highest = (index: number): number => lowest(index + 1) - 1;

/** A histogram's cells that are not empty. Make it by {@link Histogram.pack}. */
export interface PackedHistogram {
  readonly indexes: Uint16Array;
  readonly counts: Float64Array;
}

/**
 * A histogram of times from 1 µs to 1 h with two significant digits, in the HDR layout. Its own cells make a recording ten
 * times cheaper than the HDR library's; the library writes and reads the text form, so that other HDR tools read it too.
 */
export class Histogram {
  private readonly cells = new Float64Array(LENGTH);
  private total = 0;

  /** Reads the text form. @throws Error when it is none */
  static decode(text: string): Histogram {
    const decoded = hdr.decodeFromCompressedBase64(text, 64) as InstanceType<typeof hdr.Float64Histogram>;
    const histogram = new Histogram();
    const last = Math.min(decoded.countsArrayLength, LENGTH);
    for (let i = 0; i < last; i++) histogram.put(i, decoded.getCountAtIndex(i));
    return histogram;
  }

  /** Number of recorded values. */
  get count(): number {
    return this.total;
  }

  /** Sum of the recorded values in µs, as exact as the cells are: each value counts as the middle of its cell. */
  get sum(): number {
    let sum = 0;
    for (let i = 0; i < LENGTH; i++) {
      if (this.cells[i]! > 0) sum += this.cells[i]! * ((lowest(i) + highest(i)) / 2);
    }
    return sum;
  }

  /** Counts one time. Negative ones (clocks that disagree) and NaN count as 0, longer ones than an hour as an hour. */
  record(microseconds: number): void {
    const value = microseconds > 0 ? (microseconds < LONGEST_MICROSECONDS ? microseconds : LONGEST_MICROSECONDS) : 0;
    const octave = 24 - Math.clz32(value | 255);
    this.cells[(octave << CELLS_PER_OCTAVE_LOG2) + (value >>> octave)]!++;
    this.total++;
  }

  /** Compressed HDR histogram (V2) in base64: 0.3 to 2 kB. */
  encode(): string {
    const full = new hdr.Float64Histogram(1, LONGEST_MICROSECONDS, DIGITS);
    // Cell by cell: the library's own recording would take twice as long as the rest.
    for (let i = 0; i < LENGTH; i++) full.setCountAtIndex(i, this.cells[i]!);
    full.establishInternalTackingValues(LENGTH);
    return hdr.encodeIntoCompressedBase64(full);
  }

  /** Adds another one to this one. */
  add(other: Histogram): void {
    for (let i = 0; i < LENGTH; i++) this.cells[i]! += other.cells[i]!;
    this.total += other.total;
  }

  /** What this one has more than an earlier state of it: a new histogram. Cells never go below zero. */
  subtract(other: Histogram): Histogram {
    const difference = new Histogram();
    for (let i = 0; i < LENGTH; i++) {
      if (this.cells[i]! > other.cells[i]!) difference.put(i, this.cells[i]! - other.cells[i]!);
    }
    return difference;
  }

  /** The value in µs that `percent` percent of all do not exceed (highest value of its cell); 0 for an empty histogram. */
  percentile(percent: number): number {
    const wanted = Math.max(1, Math.ceil((Math.min(percent, 100) / 100) * this.total));
    let seen = 0;
    for (let i = 0; i < LENGTH; i++) {
      seen += this.cells[i]!;
      if (seen >= wanted) return Math.min(highest(i), LONGEST_MICROSECONDS);
    }
    return 0;
  }

  /** How many values do not exceed each of the ascending bounds (µs), by whole cells: the buckets of a Prometheus histogram. */
  cumulative(bounds: readonly number[]): number[] {
    const counts: number[] = [];
    let seen = 0;
    let i = 0;
    for (const bound of bounds) {
      for (; i < LENGTH && lowest(i) <= bound; i++) seen += this.cells[i]!;
      counts.push(seen);
    }
    return counts;
  }

  /** The same, small: only the cells that are not empty. For keeping many. */
  pack(): PackedHistogram {
    let used = 0;
    for (let i = 0; i < LENGTH; i++) used += this.cells[i]! > 0 ? 1 : 0;
    const packed = { indexes: new Uint16Array(used), counts: new Float64Array(used) };
    for (let i = 0, at = 0; at < used; i++) {
      if (this.cells[i]! > 0) {
        packed.indexes[at] = i;
        packed.counts[at++] = this.cells[i]!;
      }
    }
    return packed;
  }

  /** Adds a packed one. */
  addPacked({ indexes, counts }: PackedHistogram): void {
    for (let i = 0; i < indexes.length; i++) {
      this.cells[indexes[i]!]! += counts[i]!;
      this.total += counts[i]!;
    }
  }

  /** Forgets all values. */
  clear(): void {
    this.cells.fill(0);
    this.total = 0;
  }

  private put(index: number, count: number): void {
    this.total += count - this.cells[index]!;
    this.cells[index] = count;
  }
}
