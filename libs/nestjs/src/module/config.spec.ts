import { describe, expect, it } from 'vitest';
import { readRole } from './config.js';

describe('readRole', () => {
  it.each([
    [undefined, {}, 'all'],
    [undefined, { JETLANE_ROLE: '' }, 'all'],
    [undefined, { JETLANE_ROLE: 'producer' }, 'producer'],
    ['worker', { JETLANE_ROLE: 'producer' }, 'worker'],
  ] as const)('%s with %o is %s', (given, env, role) => {
    expect(readRole(given, env)).toBe(role);
  });

  it('names the variable that is wrong', () => {
    expect(() => readRole(undefined, { JETLANE_ROLE: 'consumer' })).toThrow(/JETLANE_ROLE.*producer, worker, all.*"consumer"/);
  });
});
