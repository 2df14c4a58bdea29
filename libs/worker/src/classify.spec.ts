import { compileRetryPolicy, ERROR_CODES, type ErrorCode, FatalError, JetlaneError } from '@jetlane/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { classifyError, type FailedRun, LONGEST_DELAY_MS } from './classify.js';
import type { CompiledHandlerRetry, CustomBackoff } from './handler-retry.js';
import { Cancelled, Interrupted, RetryLater } from './task-context.js';

const policy = compileRetryPolicy({ attempts: 3, initialDelay: 100, jitter: 0 });
const run = (changes: Partial<FailedRun> = {}): FailedRun => ({
  attempt: 1,
  policy,
  retryHeader: undefined,
  aborted: undefined,
  ...changes,
});

class Hostile extends Error {
  override get message(): string {
    throw new Error('no');
  }
}

const trap = new Proxy(
  {},
  {
    getPrototypeOf: () => {
      throw new Error('no');
    },
    get: () => {
      throw new Error('no');
    },
  },
);

const codes = Object.keys(ERROR_CODES) as ErrorCode[];
const delay = fc.oneof(fc.double(), fc.integer(), fc.string(), fc.constantFrom('5s', '99999999999d', '-1s'));
const thrown = fc.oneof(
  fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true, withSparseArray: true }),
  fc.string().map((message) => new Error(message)),
  fc.anything().map((message) => Object.assign(new Error(), { message })),
  fc.anything().map((name) => Object.assign(new Error('x'), { name })),
  fc.anything().map((stack) => Object.assign(new Error('x'), { stack })),
  fc.constantFrom(...codes).map((code) => new JetlaneError(code, 'x')),
  fc.constantFrom(...codes).map((code) => new FatalError('x', { code })),
  fc
    .tuple(delay, fc.option(fc.boolean(), { nil: undefined }))
    .map(([d, counts]) => new RetryLater(d, counts === undefined ? {} : { countsAsAttempt: counts })),
  fc.string().map((message) => new Cancelled(message)),
  fc.constantFrom<unknown>(new Hostile(), trap, Symbol('x'), () => 1, Object.create(null)),
);
const aborted = fc.constantFrom(undefined, new Interrupted('stop'), new JetlaneError('timeout', 'slow'), new Cancelled('by hand'));
const verdict = fc.option(
  fc.record({ retryable: fc.constantFrom(undefined, true, false), delay: delay as fc.Arbitrary<string | number> }),
  {
    nil: undefined,
  },
);
const functions = fc.constantFrom<Partial<CompiledHandlerRetry>>(
  {},
  { custom: () => 5 },
  { custom: () => Number.POSITIVE_INFINITY },
  { custom: () => trap as never, retryable: () => trap as never },
  { retryable: () => false },
);
const retryHeader = fc.oneof(
  fc.constant(undefined),
  fc.string(),
  fc.constantFrom('attempts=1', 'attempts=99', 'initialDelay=99999999999d,maxDelay=99999999999d', ',=,'),
);
const circumstances = fc.record({ aborted, retryHeader, verdict, own: functions, shared: fc.boolean() });

describe('classifyError', () => {
  it('gives every thrown value one outcome that can be written down, and never throws', () => {
    fc.assert(
      fc.property(thrown, fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), circumstances, (error, attempt, about) => {
        const { aborted: reason, own, ...rest } = about;
        const outcome = classifyError(error, run({ attempt, aborted: reason, policy: { ...policy, ...own }, ...rest }));
        expect(['retry', 'dead', 'cancelled', 'interrupted']).toContain(outcome.kind);
        expect(outcome.kind === 'interrupted').toBe(reason instanceof Interrupted);
        if (outcome.kind === 'retry') {
          expect(outcome.delayMs).toBeGreaterThanOrEqual(0);
          expect(outcome.delayMs).toBeLessThanOrEqual(LONGEST_DELAY_MS);
          expect(() => new Date(Date.now() + outcome.delayMs).toISOString()).not.toThrow();
          if (outcome.counted) expect(attempt).toBeLessThan(3);
        }
        if (outcome.kind === 'dead') expect(codes).toContain(outcome.reason);
        if ('error' in outcome) {
          expect(typeof outcome.error.name).toBe('string');
          expect(typeof outcome.error.message).toBe('string');
          expect(() => JSON.stringify(outcome.error)).not.toThrow();
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('retries until the attempts are spent, by the policy', () => {
    const error = new Error('x');
    expect(classifyError(error, run({ attempt: 1 }))).toMatchObject({ kind: 'retry', delayMs: 100, counted: true });
    expect(classifyError(error, run({ attempt: 2 }))).toMatchObject({ kind: 'retry', delayMs: 200, counted: true });
    expect(classifyError(error, run({ attempt: 3 }))).toMatchObject({ kind: 'dead', reason: 'attempts-exhausted' });
    expect(classifyError(error, run({ attempt: 2, retryHeader: 'attempts=2' }))).toMatchObject({ kind: 'dead' });
    expect(classifyError(error, run({ attempt: 3, retryHeader: 'attempts=50' }))).toMatchObject({ kind: 'dead' });
  });

  it('takes the delay of RetryLater; what does not count goes on for ever, what counts ends', () => {
    expect(classifyError(new RetryLater('5s'), run())).toMatchObject({ kind: 'retry', delayMs: 5000, counted: true });
    expect(classifyError(new RetryLater('5s'), run({ attempt: 3 }))).toMatchObject({ kind: 'dead', reason: 'attempts-exhausted' });
    expect(classifyError(new RetryLater(7, { countsAsAttempt: false }), run({ attempt: 99 }))).toMatchObject({
      kind: 'retry',
      delayMs: 7,
      counted: false,
    });
    expect(classifyError(new RetryLater('soon'), run())).toMatchObject({ kind: 'retry', delayMs: 100 });
  });

  it('names what no later run can mend; a failure of the platform is not of that kind', () => {
    expect(classifyError(new FatalError('x'), run())).toMatchObject({ kind: 'dead', reason: 'fatal' });
    expect(classifyError(new JetlaneError('invalid-argument', 'x'), run())).toMatchObject({ kind: 'dead', reason: 'invalid-argument' });
    for (const code of ['queue-full', 'not-connected', 'publish-timeout', 'no-responders', 'timeout', 'no-handler'] as const) {
      expect(classifyError(new JetlaneError(code, 'x'), run())).toMatchObject({ kind: 'retry' });
    }
    expect(classifyError(new JetlaneError('no-handler', 'x'), run({ attempt: 3 }))).toMatchObject({ kind: 'dead', reason: 'no-handler' });
  });

  it('an aborted run failed for the reason of its signal, unless the handler decided otherwise', () => {
    const timeout = new JetlaneError('timeout', 'slow');
    const abort = new DOMException('aborted', 'AbortError');
    expect(classifyError(abort, run({ aborted: timeout }))).toMatchObject({ kind: 'retry', error: { code: 'timeout' } });
    expect(classifyError(new FatalError('x'), run({ aborted: timeout }))).toMatchObject({ kind: 'dead', reason: 'fatal' });
    expect(classifyError(new RetryLater(5), run({ aborted: timeout }))).toMatchObject({ kind: 'retry', delayMs: 5 });
    expect(classifyError(new Cancelled('x'), run({ aborted: timeout }))).toMatchObject({ kind: 'cancelled', reason: 'x' });
    expect(classifyError(new FatalError('x'), run({ aborted: new Interrupted('stop') }))).toEqual({ kind: 'interrupted' });
    expect(classifyError(abort, run({ aborted: new Cancelled('by hand') }))).toEqual({ kind: 'cancelled', reason: 'by hand' });
  });

  it('asks the policy’s own functions; one that throws or answers nonsense costs nothing', () => {
    const custom = (backoff: CustomBackoff, more: Partial<CompiledHandlerRetry> = {}) => ({
      policy: { ...policy, custom: backoff, ...more },
    });
    const error = new RangeError('x');
    const asked: unknown[] = [];
    const backoff: CustomBackoff = (attempt, thrown) => {
      asked.push(attempt, thrown);
      return '3s';
    };
    expect(classifyError(error, run({ attempt: 2, ...custom(backoff) }))).toMatchObject({ kind: 'retry', delayMs: 3000, counted: true });
    expect(asked).toEqual([2, error]);
    expect(classifyError(error, run(custom(() => '10h')))).toMatchObject({ delayMs: 300_000 });
    for (const odd of ['soon', -1, Number.NaN]) expect(classifyError(error, run(custom(() => odd)))).toMatchObject({ delayMs: 100 });
    expect(classifyError(error, run(custom(() => trap as never)))).toMatchObject({ delayMs: 100 });
    expect(classifyError(error, run({ ...custom(() => 7000), retryHeader: 'initialDelay=5s' }))).toMatchObject({ delayMs: 7000 });
    expect(classifyError(error, run({ ...custom(() => 7000), retryHeader: 'backoff=fixed' }))).toMatchObject({ delayMs: 100 });
    expect(classifyError(new RetryLater(5), run(custom(() => 7000)))).toMatchObject({ delayMs: 5 });
  });

  it('is dead at once where the policy says that no retry helps', () => {
    const retryable = (thrown: unknown) => !(thrown instanceof RangeError);
    const policyOf = (fn: (thrown: unknown) => boolean) => ({ policy: { ...policy, retryable: fn } });
    expect(classifyError(new RangeError('x'), run(policyOf(retryable)))).toMatchObject({
      kind: 'dead',
      reason: 'fatal',
      error: { name: 'RangeError' },
    });
    expect(classifyError(new RangeError('x'), run({ ...policyOf(retryable), retryHeader: 'attempts=2' }))).toMatchObject({ kind: 'dead' });
    expect(classifyError(new TypeError('x'), run(policyOf(retryable)))).toMatchObject({ kind: 'retry' });
    const never = policyOf(() => false);
    expect(classifyError(new RetryLater(5), run(never))).toMatchObject({ kind: 'retry' });
    expect(classifyError(new JetlaneError('no-handler', 'x'), run(never))).toMatchObject({ kind: 'retry' });
    const throws = policyOf(() => {
      throw new Error('no');
    });
    expect(classifyError(new RangeError('x'), run(throws))).toMatchObject({ kind: 'retry' });
  });

  it('heeds what a batch handler says about an item: dead, or again after a delay; attempts count all the same', () => {
    const error = new Error('x');
    expect(classifyError(error, run({ verdict: { retryable: false } }))).toMatchObject({ kind: 'dead', reason: 'fatal' });
    expect(classifyError(error, run({ verdict: { delay: '9s' } }))).toMatchObject({ kind: 'retry', delayMs: 9000, counted: true });
    expect(classifyError(error, run({ verdict: { delay: 'soon' } }))).toMatchObject({ delayMs: 100 });
    expect(classifyError(error, run({ attempt: 3, verdict: { retryable: true, delay: 1 } }))).toMatchObject({ kind: 'dead' });
    const never = { policy: { ...policy, retryable: () => false } };
    expect(classifyError(error, run({ ...never, verdict: { retryable: true } }))).toMatchObject({ kind: 'retry' });
    expect(classifyError(new FatalError('x'), run({ verdict: { retryable: true } }))).toMatchObject({ kind: 'dead' });
  });

  it('takes the error of a whole batch for a failed attempt of each item, unless it is RetryLater', () => {
    const shared = { shared: true };
    expect(classifyError(new FatalError('x'), run(shared))).toMatchObject({ kind: 'retry', counted: true });
    expect(classifyError(new Cancelled('x'), run(shared))).toMatchObject({ kind: 'retry', counted: true });
    expect(classifyError(new RetryLater(5, { countsAsAttempt: false }), run(shared))).toMatchObject({ delayMs: 5, counted: false });
    expect(classifyError(new FatalError('x'), run({ ...shared, attempt: 3 }))).toMatchObject({
      kind: 'dead',
      reason: 'attempts-exhausted',
    });
  });
});
