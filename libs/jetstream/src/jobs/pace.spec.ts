import { describe, expect, it } from 'vitest';
import { Pace } from './pace.js';

describe('Pace', () => {
  it('spaces what is dealt out: the nth waits for what went before it', () => {
    const pace = new Pace(10);
    expect(pace.next(5)).toBe(0);
    expect(pace.next(5)).toBeGreaterThan(400);
    expect(pace.next(1)).toBeGreaterThan(900);
  });

  it('deals in small portions, never none', () => {
    expect([0.1, 10, 100, 10_000].map((rate) => new Pace(rate).chunk)).toEqual([1, 1, 10, 64]);
  });
});
