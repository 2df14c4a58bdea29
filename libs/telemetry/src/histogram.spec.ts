import fc from 'fast-check';
import hdr from 'hdr-histogram-js';
import { describe, expect, it } from 'vitest';
import { Histogram, LONGEST_MICROSECONDS } from './histogram.js';

const micros = fc.oneof(
  fc.integer({ min: 0, max: 4000 }),
  fc.integer({ min: 0, max: LONGEST_MICROSECONDS }),
  fc.double({ min: 0, max: 1e7, noNaN: true }),
);

function of(values: readonly number[]): Histogram {
  const histogram = new Histogram();
  for (const value of values) histogram.record(value);
  return histogram;
}

describe('Histogram', () => {
  it('answers percentiles like the HDR library', () => {
    fc.assert(
      fc.property(
        fc.array(micros, { minLength: 1, maxLength: 300 }),
        fc.constantFrom(1, 25, 50, 90, 95, 99, 99.9, 100),
        (values, percent) => {
          const reference = new hdr.Float64Histogram(1, LONGEST_MICROSECONDS, 2);
          for (const value of values) reference.recordValue(Math.floor(value));
          expect(of(values).percentile(percent)).toBe(Math.min(reference.getValueAtPercentile(percent), LONGEST_MICROSECONDS));
        },
      ),
    );
  });

  it('is within 0.8 % of every value', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: LONGEST_MICROSECONDS }), (value) => {
        const found = of([value]).percentile(50);
        expect(found).toBeGreaterThanOrEqual(value);
        expect(found - value).toBeLessThanOrEqual(value / 128);
      }),
    );
  });

  it('survives the text form, which other HDR tools read', () => {
    fc.assert(
      fc.property(fc.array(micros, { maxLength: 200 }), (values) => {
        const histogram = of(values);
        const text = histogram.encode();
        const back = Histogram.decode(text);
        expect(back).toEqual(histogram);
        expect(hdr.decodeFromCompressedBase64(text).totalCount).toBe(values.length);
      }),
      { numRuns: 30 },
    );
  });

  it('adds, subtracts and packs without losing a count', () => {
    fc.assert(
      fc.property(fc.array(micros, { maxLength: 50 }), fc.array(micros, { maxLength: 50 }), (before, after) => {
        const whole = of([...before, ...after]);
        const window = whole.subtract(of(before));
        expect(window).toEqual(of(after));
        const sum = of(before);
        sum.addPacked(window.pack());
        expect(sum).toEqual(whole);
        const added = of(after);
        added.add(of(before));
        expect(added).toEqual(whole);
      }),
      { numRuns: 20 },
    );
  });

  it('counts times that cannot be as the nearest that can', () => {
    const histogram = of([-5, Number.NaN, 2 * LONGEST_MICROSECONDS, Number.POSITIVE_INFINITY]);
    expect(histogram.count).toBe(4);
    expect(histogram.percentile(50)).toBe(0);
    expect(histogram.percentile(100)).toBe(LONGEST_MICROSECONDS);
  });

  it('knows nothing when empty', () => {
    const empty = new Histogram();
    expect([empty.count, empty.sum, empty.percentile(99)]).toEqual([0, 0, 0]);
    expect(Histogram.decode(empty.encode()).count).toBe(0);
    expect(empty.cumulative([1000])).toEqual([0]);
  });

  it('gives the cumulative buckets of Prometheus and a sum', () => {
    const histogram = of([500, 900, 1500, 3_000_000]);
    expect(histogram.cumulative([1000, 2000, 1e6, 5e6])).toEqual([2, 3, 3, 4]);
    expect(histogram.sum).toBeGreaterThan(3_002_900 * 0.99);
    expect(histogram.sum).toBeLessThan(3_002_900 * 1.01);
  });

  it('forgets when cleared', () => {
    const histogram = of([1, 2, 3]);
    histogram.clear();
    expect(histogram).toEqual(new Histogram());
  });
});
