import { describe, expect, it } from 'vitest';
import { resiliencyConfig } from './config.js';

const DAY_MS = 86_400_000;
const boundsOf = (env: Record<string, string>) => resiliencyConfig({ LOG_FORMAT: 'json', ...env }).bounds;

describe('resiliencyConfig', () => {
  it('bounds dead letters generously', () => {
    expect(boundsOf({})).toEqual({ maxAgeMs: 90 * DAY_MS, maxBytes: 2 * 1024 ** 3 });
    expect(boundsOf({ DEAD_LETTERS_MAX_AGE: '', DEAD_LETTERS_MAX_BYTES: '' })).toEqual(boundsOf({}));
  });

  it.each([
    [
      { DEAD_LETTERS_MAX_AGE: '7d', DEAD_LETTERS_MAX_BYTES: '1000000' },
      { maxAgeMs: 7 * DAY_MS, maxBytes: 1_000_000 },
    ],
    [
      { DEAD_LETTERS_MAX_AGE: '0', DEAD_LETTERS_MAX_BYTES: '0' },
      { maxAgeMs: 0, maxBytes: 0 },
    ],
    [{ DEAD_LETTERS_MAX_AGE: '60000' }, { maxAgeMs: 60_000, maxBytes: 2 * 1024 ** 3 }],
  ])('reads %j', (env, bounds) => {
    expect(boundsOf(env)).toEqual(bounds);
  });

  it.each([
    ['DEAD_LETTERS_MAX_AGE', 'soon'],
    ['DEAD_LETTERS_MAX_AGE', '-1d'],
    ['DEAD_LETTERS_MAX_AGE', '1s'],
    ['DEAD_LETTERS_MAX_BYTES', '2GiB'],
    ['DEAD_LETTERS_MAX_BYTES', '-1'],
    ['DEAD_LETTERS_MAX_BYTES', '1.5'],
  ])('refuses %s=%s and names it', (name, value) => {
    expect(() => boundsOf({ [name]: value })).toThrow(name);
  });
});
