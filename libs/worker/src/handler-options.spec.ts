import { JetlaneError } from '@jetlane/protocol';
import { describe, expect, it } from 'vitest';
import { compileHandlers, defaultSlots, type HandlerEntry } from './handler-options.js';

const definition = { name: 'q', retry: { attempts: 7, initialDelay: '2s' } };
const compile = (entry: unknown, slots = 100) => compileHandlers({ t: entry as HandlerEntry }, definition, slots).get('t')!;
const refusal = (entry: unknown, slots?: number): JetlaneError => {
  try {
    compile(entry, slots);
  } catch (error) {
    expect(error).toBeInstanceOf(JetlaneError);
    return error as JetlaneError;
  }
  throw new Error('it was accepted');
};
const handleBatch = () => [];

describe('handlers', () => {
  it('may be a function, one with rules, or one of batches, with defaults', () => {
    const handle = () => 1;
    expect(compile(handle)).toMatchObject({ handle, batch: undefined, timeoutMs: undefined, retry: { attempts: 7, initialMs: 2000 } });
    expect(compile({ handle, timeout: '3s', retry: { attempts: 2 } })).toMatchObject({
      timeoutMs: 3000,
      retry: { attempts: 2, initialMs: 2000 },
    });
    expect(compile({ handleBatch, size: 10 })).toMatchObject({
      handle: handleBatch,
      batch: { size: 10, minSize: 1, maxWaitMs: 100, longestWaitMs: 1000, minGapMs: 0, accept: undefined },
    });
    expect(compile({ handleBatch, size: 10, minSize: 10, maxWait: '2s', minGap: '5s', groupBy: 'group' })).toMatchObject({
      batch: { minSize: 10, maxWaitMs: 2000, longestWaitMs: 20_000, minGapMs: 5000, groupBy: 'group' },
    });
  });

  it('refuse both kinds for one type, and neither', () => {
    expect(refusal({ handle: () => 1, handleBatch, size: 1 })).toMatchObject({
      code: 'duplicate-handler',
      message: 'task type "t" has handle and handleBatch; a type has one handler, so drop one of them',
    });
    expect(refusal({})).toMatchObject({ code: 'invalid-configuration', message: expect.stringContaining('handle of handler "t"') });
    expect(refusal({ handle: 'x' }).message).toContain('got "x"');
  });

  it('refuse a batch that has more items than the worker has slots, and name both', () => {
    const error = refusal({ handleBatch, size: 50 }, 20);
    expect(error).toMatchObject({ code: 'invalid-configuration', details: { field: 'concurrency', size: 50, concurrency: 20 } });
    expect(error.message).toContain('has size 50');
    expect(error.message).toContain('concurrency is 20');
    expect(compile({ handleBatch, size: 20 }, 20).batch?.size).toBe(20);
  });

  it('give a worker without a concurrency of its own slots for their largest batch', () => {
    const entries = (handlers: unknown) => handlers as Record<string, HandlerEntry>;
    expect(defaultSlots({ t: () => 1 })).toBe(10);
    expect(defaultSlots(entries({ t: () => 1, b: { handleBatch, size: 5 } }))).toBe(10);
    expect(defaultSlots(entries({ t: { handle: () => 1 }, b: { handleBatch, size: 50 }, wrong: { handleBatch, size: Number.NaN } }))).toBe(
      50,
    );
  });

  it.each([
    ['size', { size: 0 }],
    ['size', { size: 1.5 }],
    ['size', {}],
    ['size', { size: 10_001 }],
    ['minSize', { size: 5, minSize: 6 }],
    ['minSize', { size: 5, minSize: 0 }],
    ['groupBy', { size: 5, groupBy: 'groups' }],
    ['maxWait', { size: 5, maxWait: '2h' }],
    ['minGap', { size: 5, minGap: '2h' }],
    ['accept', { size: 5, accept: 'all' }],
  ])('refuse a wrong %s: %j', (field, options) => {
    expect(refusal({ handleBatch, ...options })).toMatchObject({
      code: 'invalid-configuration',
      message: expect.stringContaining(`expected ${field} of handler "t"`),
    });
  });

  it('refuse a retry policy that is none, with every wrong field', () => {
    const { code, message } = refusal({ handle: () => 1, retry: { attempts: 0, jitter: 3 } });
    expect(code).toBe('invalid-configuration');
    expect(message).toContain('retry of handler "t"');
    expect(message).toContain('attempts');
    expect(message).toContain('jitter');
  });
});
