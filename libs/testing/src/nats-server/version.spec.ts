import { describe, expect, it } from 'vitest';
import { isAtLeast } from './version.js';

describe('isAtLeast', () => {
  it.each([
    ['2.14.0', '2.14.0', true],
    ['2.15.1', '2.14.0', true],
    ['3.0.0', '2.14.9', true],
    ['2.9.25', '2.14.0', false],
    ['2.14.0-RC.1', '2.14.0', true],
    ['1.99.99', '2.0.0', false],
  ])('%s against %s is %s', (version, minimum, expected) => {
    expect(isAtLeast(version, minimum)).toBe(expected);
  });
});
