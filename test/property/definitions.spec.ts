import {
  closest,
  DEFAULT_QUEUES,
  ERROR_CODES,
  type ErrorCode,
  enqueueRequestSchema,
  FatalError,
  formatMs,
  IdempotencyConflictError,
  JetlaneError,
  parseQueueDefinition,
  QueueFullError,
  toMs,
  UnknownQueueError,
  WrongSequenceError,
} from '@jetlane/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

describe('durations', () => {
  it('are whole, finite and never negative, or refused', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.double(),
          fc.string(),
          fc
            .tuple(
              fc.double({ min: 0, max: 1e9, noNaN: true }).map((n) => n.toFixed(3)),
              fc.constantFrom('ms', 's', 'm', 'h', 'd'),
            )
            .map((parts) => parts.join('')),
        ),
        (value) => {
          try {
            const ms = toMs(value);
            expect(Number.isSafeInteger(ms) && ms >= 0).toBe(true);
            expect(() => new Date(Date.now() + ms).toISOString()).not.toThrow();
          } catch (error) {
            expect((error as JetlaneError).code).toBe('invalid-argument');
          }
        },
      ),
    );
  });

  it('mean what they say', () => {
    expect(['250ms', '5s', '1.5m', '2h', '7d', '1.1s', ' 5s ', 5].map((value) => toMs(value))).toEqual([
      250, 5000, 90_000, 7_200_000, 604_800_000, 1100, 5000, 5,
    ]);
    for (const wrong of [
      '',
      '5',
      '-5s',
      '5 s',
      '5S',
      '5w',
      '1e3s',
      's',
      -1,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      '40000d',
      `${'9'.repeat(400)}d`,
    ])
      expect(() => toMs(wrong, 'delay'), String(wrong)).toThrow(/expected delay to be/);
  });

  it('are read back from how they are shown', () => {
    fc.assert(
      fc.property(fc.nat(3_000_000_000), (ms) => {
        expect(toMs(formatMs(ms))).toBe(ms);
      }),
    );
  });
});

describe('enqueue requests', () => {
  const parse = (fields: object) => enqueueRequestSchema.safeParse({ queue_name: 'default', task_type: 'mail', task_data: {}, ...fields });

  it('take priorities by name in any case and by number', () => {
    const lanes = { LOW: 'low', normal: 'normal', High: 'high', CRITICAL: 'critical', 1: 'low', 2: 'normal', 3: 'high', 4: 'critical' };
    for (const [written, lane] of Object.entries(lanes))
      expect(parse({ priority: /\d/.test(written) ? Number(written) : written }).data?.priority).toBe(lane);
    expect(parse({}).data).toMatchObject({ priority: 'normal', delay: 0 });
    for (const wrong of [0, 5, 2.5, 'urgent', '', null, true, [], {}])
      expect(parse({ priority: wrong }).success, String(wrong)).toBe(false);
  });

  it('take delays in seconds or as a duration, up to a year', () => {
    expect([5, 0.25, '90s', '2h', '366d'].map((delay) => parse({ delay }).data?.delay)).toEqual([
      5000,
      250,
      90_000,
      7_200_000,
      366 * 86_400_000,
    ]);
    for (const wrong of [-1, Number.NaN, Number.POSITIVE_INFINITY, 1e12, '367d', 'soon', '', '5', null, {}])
      expect(parse({ delay: wrong }).success, String(wrong)).toBe(false);
  });

  it('refuse what they do not know', () => {
    for (const wrong of [
      { queue_name: 'Default' },
      { queue_name: 'a.b' },
      { task_type: '' },
      { task_type: 'a b' },
      { task_id: 'a.b' },
      { task_id: '' },
      { extra: 1 },
    ])
      expect(parse(wrong).success, JSON.stringify(wrong)).toBe(false);
    fc.assert(fc.property(fc.anything(), (anything) => void enqueueRequestSchema.safeParse(anything)));
  });
});

describe('queue definitions', () => {
  const problems = (input: unknown): string[] => {
    try {
      parseQueueDefinition(input);
      return [];
    } catch (error) {
      expect((error as JetlaneError).code).toBe('invalid-configuration');
      return ((error as JetlaneError).details.issues as { path: string }[]).map(({ path }) => path);
    }
  };

  it('report every problem together, by field', () => {
    const wrong = {
      name: 'Bad Name',
      workers: 0,
      lease: 'banana',
      keepRecords: '10ms',
      retry: { attempts: 0, initialDelay: 'soon' },
      weights: { low: -1 },
      mode: 'random',
    };
    expect(problems(wrong).sort()).toEqual([
      'keepRecords',
      'lease',
      'mode',
      'name',
      'retry.attempts',
      'retry.initialDelay',
      'weights.low',
      'workers',
    ]);
    expect(problems({ name: 'q', lease: '500ms' })).toEqual(['lease']);
    expect(problems({ name: 'q', lease: '300d' })).toEqual(['lease']);
    expect(problems({ name: 'q', colour: 'red' })).toEqual(['']);
  });

  it('take the queues of a fresh installation, and never fail untyped', () => {
    for (const definition of DEFAULT_QUEUES) expect(problems(definition)).toEqual([]);
    fc.assert(fc.property(fc.anything(), (anything) => void problems(anything)));
  });
});

describe('errors', () => {
  it('every code has a status, a title and says whether to repeat', () => {
    for (const [code, { status, retryable, title }] of Object.entries(ERROR_CODES)) {
      expect(code).toMatch(/^[a-z]+(-[a-z]+)*$/);
      expect(status).toBeGreaterThanOrEqual(400);
      expect(title.length).toBeGreaterThan(10);
      const error = new JetlaneError(code as ErrorCode, 'x');
      expect(error.retryable).toBe(retryable);
    }
  });

  it('every class bears its own name, code and cause', () => {
    const cause = new Error('why');
    const errors: [JetlaneError, string, ErrorCode][] = [
      [new QueueFullError('q', { cause, details: { depth: 3 } }), 'QueueFullError', 'queue-full'],
      [new UnknownQueueError('q'), 'UnknownQueueError', 'unknown-queue'],
      [new IdempotencyConflictError('q.k'), 'IdempotencyConflictError', 'idempotency-conflict'],
      [new WrongSequenceError('s', { cause }), 'WrongSequenceError', 'wrong-sequence'],
      [new FatalError('no', { cause }), 'FatalError', 'fatal'],
    ];
    for (const [error, name, code] of errors) expect(error).toMatchObject({ name, code, retryable: ERROR_CODES[code].retryable });
    expect(errors[0]![0]).toMatchObject({ cause, details: { queue: 'q', depth: 3 } });
    expect(new FatalError('no', { code: 'no-handler', retryable: true }).retryable).toBe(false);
  });

  it('an unknown queue gets the nearest name, at no great cost', () => {
    const names = Array.from({ length: 1000 }, (_, i) => `queue-${i}-${'x'.repeat(40)}`);
    expect(new UnknownQueueError('defualt', ['default', 'high_priority']).message).toContain('did you mean "default"?');
    expect(new UnknownQueueError('zzz', ['default']).message).toContain('defined queues: default');
    expect(new UnknownQueueError('zzz').message).toContain('no queue is defined yet');
    const started = performance.now();
    expect(new UnknownQueueError('q'.repeat(5_000_000), names).message.length).toBeLessThan(2000);
    expect(performance.now() - started).toBeLessThan(1000);
    expect(closest('', ['a'])).toBe('a');
    expect(closest('emial', ['sms', 'email'])).toBe('email');
  });
});
