import { describe, expect, it } from 'vitest';
import { Utilisation } from './utilisation.js';

describe('utilisation', () => {
  it('counts finished and running time against all slots', () => {
    const utilisation = new Utilisation();
    expect(utilisation.read(1000, 2, [])).toBe(0);
    // One slot was used for the whole second, by two runs; the other half of it.
    utilisation.ran(600);
    expect(utilisation.read(2000, 2, [1600, 1500])).toBe(0.75);
    // The run that began at 1,600 ended at 2,500.
    utilisation.ran(900);
    expect(utilisation.read(3000, 2, [1500])).toBe(0.75);
    expect(utilisation.read(4000, 2, [1500, 3000])).toBe(1);
  });

  it('stays between 0 and 1 when clocks jump', () => {
    const utilisation = new Utilisation();
    utilisation.read(1000, 1, [0]);
    expect(utilisation.read(500, 1, [])).toBe(0);
    utilisation.ran(1_000_000);
    expect(utilisation.read(1500, 1, [])).toBe(1);
    expect(utilisation.read(2500, 0, [])).toBe(0);
  });
});
