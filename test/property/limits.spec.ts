import { type Claimant, fairShares, type JetlaneError, MinGap, parseQueueDefinition, perMs, TokenBucket } from '@jetlane/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const times = fc.array(fc.double({ min: 0, max: 400, noNaN: true }), { minLength: 10, maxLength: 200 });
const rates = fc.double({ min: 0.0001, max: 5, noNaN: true });

describe('a bucket of tokens', () => {
  it('gives no more in any span than the rate and what it may save up', () => {
    fc.assert(
      fc.property(rates, times, (rate, steps) => {
        const bucket = new TokenBucket(rate, 0);
        const moments: { at: number; starts: number }[] = [];
        let now = 0;
        for (const step of steps) {
          now += step;
          const starts = bucket.available(now);
          for (let i = 0; i < starts; i++) bucket.take();
          moments.push({ at: now, starts });
        }
        const burst = Math.max(1, rate * 250);
        let most = 0;
        moments.forEach(({ at: from }, i) => {
          let sum = 0;
          for (const { at, starts } of moments.slice(i)) {
            sum += starts;
            most = Math.max(most, sum - rate * (at - from) - burst);
          }
        });
        expect(most).toBeLessThan(1e-6);
      }),
    );
  });

  it('loses nothing: what was given, what is here and what overflowed is what the rate made', () => {
    fc.assert(
      fc.property(rates, rates, times, (first, second, steps) => {
        const bucket = new TokenBucket(first, 0);
        let now = 0;
        let made = 0;
        let taken = 0;
        steps.forEach((step, i) => {
          now += step;
          made += step * (i <= 5 ? first : second);
          if (i === 5) bucket.setRate(second, now);
          if (i % 3 === 0 && bucket.available(now) >= 1) {
            bucket.take();
            taken++;
          }
        });
        bucket.available(now);
        const left = made - taken - bucket.overflow;
        expect(left).toBeGreaterThanOrEqual(-1e-6);
        expect(left).toBeLessThanOrEqual(Math.max(1, second * 250) + 1e-6);
      }),
    );
  });

  it('tells when the next token comes', () => {
    fc.assert(
      fc.property(rates, times, (rate, steps) => {
        const bucket = new TokenBucket(rate, 0);
        let now = 0;
        for (const step of steps) {
          now += step;
          const wait = bucket.waitMs(now);
          if (wait > 0) expect(bucket.available(now)).toBe(0);
          expect(bucket.available(now, wait + 1e-6)).toBeGreaterThanOrEqual(1);
          now += wait + 1e-6;
          expect(bucket.available(now)).toBeGreaterThanOrEqual(1);
          bucket.take();
        }
      }),
    );
    expect(new TokenBucket(0, 0).waitMs(5)).toBe(Number.POSITIVE_INFINITY);
  });

  it('takes what others did not use, above its brim, and keeps it', () => {
    const bucket = new TokenBucket(0.01, 0);
    bucket.add(5);
    expect(bucket.available(10_000)).toBe(5);
    expect(bucket.full(10_000)).toBe(true);
  });

  it('a rate may be given per any span of time', () => {
    expect(perMs({ count: 30 })).toBe(0.03);
    expect(perMs({ count: 10, per: '1m' })).toBeCloseTo(1 / 6000);
  });
});

describe('fair shares', () => {
  const claimants = (whole: boolean) =>
    fc.array(
      fc.record({ wants: whole ? fc.nat(40) : fc.double({ min: 0, max: 1, noNaN: true }), holds: whole ? fc.nat(10) : fc.constant(0) }),
      { minLength: 1, maxLength: 12 },
    );

  const check = (shares: number[], list: readonly Claimant[], total: number, spread: boolean, unit: number) => {
    const sum = shares.reduce((all, share) => all + share, 0);
    expect(sum).toBeLessThanOrEqual(total + 1e-9);
    const wanted = list.reduce((all, { wants }) => all + wants, 0);
    // Nothing is left lying about while somebody wants it.
    expect(sum).toBeGreaterThanOrEqual((spread ? total : Math.min(total, wanted)) - 1e-9);
    list.forEach(({ wants }, i) => {
      if (!spread) expect(shares[i]).toBeLessThanOrEqual(wants + 1e-9);
      // Who gets less than it wants gets no less than anybody else, but for the part that cannot be divided.
      if (shares[i]! < wants - 1e-9) for (const share of shares) expect(share).toBeLessThanOrEqual(shares[i]! + unit + 1e-9);
    });
  };

  it('in whole numbers', () => {
    fc.assert(
      fc.property(claimants(true), fc.nat(60), fc.boolean(), (list, total, spread) => {
        const shares = fairShares({ total, whole: true, spread }, list);
        for (const share of shares) expect(Number.isInteger(share)).toBe(true);
        check(shares, list, total, spread, 1);
      }),
      { numRuns: 1000 },
    );
  });

  it('in parts', () => {
    fc.assert(
      fc.property(claimants(false), fc.boolean(), (list, spread) =>
        check(fairShares({ total: 1, whole: false, spread }, list), list, 1, spread, 0),
      ),
      { numRuns: 1000 },
    );
  });

  it('what cannot be divided stays where it is', () => {
    const want = (holds: number): Claimant => ({ wants: 5, holds });
    const dealing = { total: 1, whole: true, spread: false };
    expect(fairShares(dealing, [want(0), want(1), want(0)])).toEqual([0, 1, 0]);
    expect(fairShares({ ...dealing, total: 7 }, [want(2), want(3), want(2)])).toEqual([2, 3, 2]);
    expect(fairShares({ ...dealing, total: 7 }, [want(2), want(2), want(2)])).toEqual([3, 2, 2]);
  });
});

describe('a least gap', () => {
  it('lies between any two beginnings', () => {
    fc.assert(
      fc.property(fc.nat(500), times, (gapMs, steps) => {
        const gap = new MinGap(gapMs);
        let now = 0;
        let last = Number.NEGATIVE_INFINITY;
        for (const step of steps) {
          now += step;
          if (gap.waitMs(now) > 0) continue;
          expect(now - last).toBeGreaterThanOrEqual(gapMs - 1e-6);
          gap.begin(now);
          last = now;
        }
      }),
    );
  });

  it('may be changed while one waits', () => {
    const gap = new MinGap(100);
    expect(gap.waitMs(0)).toBe(0);
    gap.begin(0);
    gap.setGap(30);
    expect(gap.waitMs(10)).toBe(20);
  });
});

describe('definitions of limits', () => {
  const problems = (fields: object): string[] => {
    try {
      parseQueueDefinition({ name: 'q', ...fields });
      return [];
    } catch (error) {
      return ((error as JetlaneError).details.issues as { path: string }[]).map(({ path }) => path);
    }
  };

  it('are taken as they are meant', () => {
    expect(
      problems({ limits: { concurrency: 5, rate: { count: 30, per: '1s' }, group: { concurrency: 1, rate: { count: 1, per: '1m' } } } }),
    ).toEqual([]);
    expect(problems({ limits: {}, reserved: { critical: 1, high: 2 } })).toEqual([]);
  });

  it('are refused by field', () => {
    expect(problems({ limits: { concurrency: 0, rate: { count: 0 } } }).sort()).toEqual(['limits.concurrency', 'limits.rate.count']);
    expect(problems({ limits: { rate: { count: 1, per: '0ms' } } })).toEqual(['limits.rate.per']);
    // Whoever started a task of a group keeps the group until the next may start: not for an hour.
    expect(problems({ limits: { group: { rate: { count: 1, per: '1h' } } } })).toEqual(['limits.group.rate']);
    expect(problems({ limits: { group: { rate: { count: 60, per: '1h' } } } })).toEqual([]);
    expect(problems({ reserved: { low: 1 } })).toEqual(['reserved']);
    expect(problems({ limits: { group: { rate: { count: 1, per: 'soon' } } } })).toEqual(['limits.group.rate.per']);
  });
});
