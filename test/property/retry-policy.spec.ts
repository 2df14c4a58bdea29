import {
  backoffMs,
  compileRetryPolicy,
  formatRetryHeader,
  JetlaneError,
  parseRetryHeader,
  type RetryPolicy,
  retryPolicySchema,
  tightenRetryPolicy,
} from '@jetlane/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const duration = fc.oneof(
  fc.nat(10_000_000),
  fc.nat(5000).map((n) => `${n}ms`),
  fc.nat(900).map((n) => `${n / 10}s`),
  fc.nat(48).map((n) => `${n}h`),
);
const policy: fc.Arbitrary<RetryPolicy> = fc
  .record({
    attempts: optional(fc.integer({ min: 1, max: 100 })),
    backoff: optional(fc.constantFrom('exponential' as const, 'fixed' as const)),
    initialDelay: optional(duration),
    factor: optional(fc.double({ min: 1, max: 10, noNaN: true })),
    maxDelay: optional(duration),
    jitter: optional(fc.double({ min: 0, max: 1, noNaN: true })),
  })
  .map((fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)));
const attempt = fc.integer({ min: 1, max: 1000 });
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('backoff', () => {
  it('is a whole number, never negative and never above the cap', () => {
    fc.assert(
      fc.property(policy, attempt, random, (written, n, r) => {
        const compiled = compileRetryPolicy(written);
        const ms = backoffMs(compiled, n, () => r);
        expect(Number.isSafeInteger(ms)).toBe(true);
        expect(ms).toBeGreaterThanOrEqual(0);
        expect(ms).toBeLessThanOrEqual(compiled.maxMs);
      }),
    );
  });

  it('stays within the jitter of the plain curve', () => {
    fc.assert(
      fc.property(policy, fc.integer({ min: 1, max: 60 }), random, (written, n, r) => {
        const compiled = compileRetryPolicy(written);
        const growth = compiled.backoff === 'fixed' ? 1 : compiled.factor ** (n - 1);
        const plain = Math.min(compiled.initialMs * growth, compiled.maxMs);
        const ms = backoffMs(compiled, n, () => r);
        expect(ms).toBeGreaterThanOrEqual(Math.floor(plain * (1 - compiled.jitter)));
        expect(ms).toBeLessThanOrEqual(Math.ceil(plain * (1 + compiled.jitter)));
      }),
    );
  });

  it('grows with the attempt, and uses its whole range', () => {
    const compiled = compileRetryPolicy({ jitter: 0.5, initialDelay: '1s', maxDelay: '1h' });
    expect([1, 2, 3, 4].map((n) => backoffMs(compiled, n, () => 0.5))).toEqual([1000, 2000, 4000, 8000]);
    expect(backoffMs(compiled, 1, () => 0)).toBe(500);
    expect(backoffMs(compiled, 1, () => 0.999_999)).toBe(1500);
    expect(backoffMs(compiled, 900, () => 0.999_999)).toBe(3_600_000);
  });
});

describe('retry policies', () => {
  it('the last policy wins, field by field, and a field left undefined says nothing', () => {
    expect(compileRetryPolicy({ attempts: 3, jitter: 0 }, { attempts: undefined, factor: 4 })).toMatchObject({
      attempts: 3,
      jitter: 0,
      factor: 4,
    });
    expect(compileRetryPolicy(undefined, { attempts: 7 }, undefined).attempts).toBe(7);
  });

  it('survive the header', () => {
    fc.assert(
      fc.property(policy, (written) => {
        fc.pre(Object.keys(written).length > 0);
        expect(compileRetryPolicy(parseRetryHeader(formatRetryHeader(written)))).toEqual(compileRetryPolicy(written));
      }),
    );
  });

  it('refuse every unreadable header with a typed error', () => {
    for (const text of [
      '',
      'attempts',
      'attempts=0',
      'attempts=3,attempts',
      'attempts=1e9',
      'speed=1',
      'initialDelay=banana',
      'maxDelay=-5s',
      'jitter=2',
      '__proto__=1',
      `maxDelay=${'9'.repeat(400)}d`,
    ]) {
      expect(() => parseRetryHeader(text), text).toThrow(expect.objectContaining({ code: 'invalid-headers' }));
    }
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          expect(retryPolicySchema.safeParse(parseRetryHeader(text)).success).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(JetlaneError);
          expect((error as JetlaneError).code).toBe('invalid-headers');
        }
      }),
    );
  });

  it('a header of a task lowers the number of attempts and never raises it', () => {
    fc.assert(
      fc.property(policy, policy, (written, override) => {
        const queue = compileRetryPolicy(written);
        const own = tightenRetryPolicy(queue, override);
        expect(own.attempts).toBeLessThanOrEqual(queue.attempts);
        expect(own.attempts).toBe(Math.min(override.attempts ?? queue.attempts, queue.attempts));
      }),
    );
  });
});
