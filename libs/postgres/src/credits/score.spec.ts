import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { computeScore } from './score.js';

const credits = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const figures = fc.record({ purchased: credits, used: credits, purchases: credits, recentPurchases: credits });

describe('computeScore', () => {
  it('is 0 for an account that never bought anything', () => {
    expect(computeScore({ purchased: 0, used: 50, purchases: 0, recentPurchases: 0 })).toBe(0);
  });

  it('is 1000 for a large, used and active account', () => {
    expect(computeScore({ purchased: 1_000_000, used: 1_000_000, purchases: 10, recentPurchases: 10 })).toBe(1000);
  });

  it('is a whole number from 0 to 1000', () => {
    fc.assert(
      fc.property(figures, (values) => {
        const score = computeScore(values);
        expect(Number.isInteger(score) && score >= 0 && score <= 1000).toBe(true);
      }),
    );
  });

  it('never falls when more is used or bought recently', () => {
    fc.assert(
      fc.property(figures, credits, credits, (values, used, recentPurchases) => {
        const more = { ...values, used: Math.max(values.used, used), recentPurchases: Math.max(values.recentPurchases, recentPurchases) };
        expect(computeScore(more)).toBeGreaterThanOrEqual(computeScore(values));
      }),
    );
  });
});
