import { describe, expect, it } from 'vitest';
import { limitsFor } from './options.js';

describe('limitsFor', () => {
  const rate = (count: number, per = '1s') => ({ count, per });

  it('the definition wins over the process, and the ceiling over both', () => {
    const name = 'q';
    const careful = { rate: rate(10) };
    expect(limitsFor({ name }, {}, {})).toBeUndefined();
    expect(limitsFor({ name }, { rate: rate(30) }, {})).toEqual({ rate: rate(30) });
    expect(limitsFor({ name, limits: { rate: rate(50), concurrency: 3 } }, { rate: rate(30) }, {})).toEqual({
      rate: rate(50),
      concurrency: 3,
    });
    expect(limitsFor({ name, limits: { concurrency: 3 } }, { rate: rate(30) }, careful)).toEqual({ rate: rate(10), concurrency: 3 });
    expect(limitsFor({ name }, {}, careful)).toEqual({ rate: rate(10) });
    expect(limitsFor({ name, limits: { rate: rate(60, '1m') } }, {}, careful)).toEqual({ rate: rate(60, '1m') });
  });
});
