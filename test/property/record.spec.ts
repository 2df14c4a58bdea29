import {
  type AttemptError,
  appendHistory,
  asciiJson,
  decodeRecord,
  fingerprint,
  HISTORY_LIMIT,
  isFinal,
  MESSAGE_LIMIT,
  parseHistory,
  STACK_LIMIT,
  TASK_STATES,
  toErrorRecord,
} from '@jetlane/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const words = (maxLength: number) => fc.string({ unit: fc.constantFrom('a', 'é', '日', '😀', '\n', '"', '\u2028', '\0', '\\'), maxLength });
const attempt: fc.Arbitrary<AttemptError> = fc.record(
  {
    attempt: fc.nat(100),
    at: fc.nat(),
    name: words(300),
    message: words(MESSAGE_LIMIT),
    stack: words(STACK_LIMIT),
    worker: words(300),
    code: words(300),
    log: fc.array(fc.record({ at: fc.nat(), text: words(500) }), { maxLength: 50 }),
  },
  { requiredKeys: ['attempt', 'at', 'name', 'message'] },
);
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('attempt history', () => {
  it('is one line of ASCII within its limit, and ends with the last attempt', () => {
    fc.assert(
      fc.property(fc.array(attempt, { minLength: 1, maxLength: 12 }), (attempts) => {
        let history: string | undefined;
        for (const entry of attempts) {
          history = appendHistory(history, entry);
          expect(history.length).toBeLessThanOrEqual(HISTORY_LIMIT);
          expect(history).toMatch(/^[\x20-\x7e]*$/);
          expect(parseHistory(history).at(-1)).toMatchObject({ attempt: entry.attempt, at: entry.at });
        }
      }),
      { numRuns: 150 },
    );
  });

  it('gives up logs before stacks, the oldest first, and of one log keeps the last lines', () => {
    const log = Array.from({ length: 40 }, (_, i) => ({ at: i, text: `${i}`.padStart(100, '.') }));
    const entry = (n: number): AttemptError => ({ attempt: n, at: n, name: 'Error', message: `${n}`, stack: 's'.repeat(1000), log });
    let history = appendHistory(undefined, entry(1));
    expect(parseHistory(history)).toMatchObject([{ stack: entry(1).stack, log: log.slice(-15) }]);
    for (let n = 2; n <= 4; n++) history = appendHistory(history, entry(n));
    const kept = parseHistory(history);
    expect(kept.map(({ stack }) => stack?.length)).toEqual([1000, 1000, 1000, 1000]);
    expect(kept.map(({ log: lines }) => lines?.length)).toEqual([undefined, undefined, undefined, undefined]);
    expect(parseHistory('[{"attempt":1,"at":1,"name":"a","message":"b","log":[1]}]')).toEqual([]);
  });

  it('keeps everything while there is room, then gives up the oldest stacks first', () => {
    const entry = (n: number): AttemptError => ({
      attempt: n,
      at: n,
      name: 'Error',
      message: `failed ${n}`,
      stack: 's'.repeat(STACK_LIMIT),
    });
    let history = appendHistory(undefined, entry(1));
    history = appendHistory(history, entry(2));
    expect(parseHistory(history)).toEqual([entry(1), entry(2)]);
    for (let n = 3; n <= 5; n++) history = appendHistory(history, entry(n));
    const kept = parseHistory(history);
    expect(kept.map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4, 5]);
    expect(kept[0]!.stack).toBeUndefined();
    expect(kept.at(-1)!.stack).toHaveLength(STACK_LIMIT);
  });

  it('what a producer wrote there costs next to nothing', () => {
    const last: AttemptError = { attempt: 1, at: 1, name: 'Error', message: 'x' };
    const entry = '{"attempt":1,"at":1,"name":"a","message":"b"}';
    const started = performance.now();
    for (const hostile of [
      `[${'0,'.repeat(500_000)}0]`,
      `[${`${entry},`.repeat(20_000)}${entry}]`,
      '['.repeat(100_000),
      '{"length":1e9}',
      '[null,1,"a",{},[]]',
      'x',
    ]) {
      expect(parseHistory(appendHistory(hostile, last)).at(-1)).toEqual(last);
    }
    expect(performance.now() - started).toBeLessThan(3000);
  });
});

describe('error records', () => {
  it('any thrown value becomes one, within its limits', () => {
    fc.assert(
      fc.property(fc.anything({ withBigInt: true, withNullPrototype: true, withObjectString: true }), (thrown) => {
        const record = toErrorRecord(thrown);
        expect(record.message.length).toBeLessThanOrEqual(MESSAGE_LIMIT);
        expect(() => asciiJson(record)).not.toThrow();
      }),
    );
    const hostile = {
      toString() {
        throw new Error('no');
      },
    };
    for (const thrown of [hostile, Object.create(null), undefined, null, Symbol('x')])
      expect(typeof toErrorRecord(thrown).message).toBe('string');
  });

  it('an error may have fields of any size and type', () => {
    const error = Object.assign(new Error('m'.repeat(5000)), { name: 'N'.repeat(5000), code: 'c'.repeat(5000), stack: 's'.repeat(50_000) });
    const record = toErrorRecord(error);
    expect(asciiJson(record).length).toBeLessThan(MESSAGE_LIMIT + STACK_LIMIT + 1000);
    expect(toErrorRecord(Object.assign(new Error('x'), { message: 5, name: undefined, code: 7, stack: {} }))).toEqual({
      name: 'undefined',
      message: '5',
    });
  });

  it('a fingerprint is the same for numbers and ids that differ, and another for another error', () => {
    const of = (message: string, type = 'mail', name = 'Error') => fingerprint(type, { name, message });
    const id = () => fc.sample(fc.uuid(), 1)[0]!;
    expect(of(`user ${id()} not found`)).toBe(of(`user ${id()} not found`));
    expect(of('task default.0qXAbcdEFgh12345678ijk timed out after 120 ms')).toBe(
      of('task default.9zY-bcdEFgh99345678ijk timed out after 98765 ms'),
    );
    expect(of('digest 9f86d081884c7d65')).toBe(of('digest 2c26b46b68ffc68f'));
    expect(new Set([of('a'), of('b'), of('a', 'sms'), of('a', 'mail', 'TypeError')]).size).toBe(4);
    fc.assert(fc.property(fc.string(), fc.string(), (type, message) => /^[0-9a-f]{8}$/.test(of(message, type))));
  });
});

describe('state records', () => {
  it('survive the wire', () => {
    const record = fc.record({
      id: fc.string(),
      hop: fc.nat(),
      attempt: fc.nat(),
      state: fc.constantFrom(...TASK_STATES),
      at: fc.record({ created: fc.nat() }),
      result: fc.jsonValue(),
    });
    fc.assert(
      fc.property(record, (written) => {
        const text = JSON.stringify(written);
        expect(decodeRecord(bytes(text))).toEqual(JSON.parse(text));
      }),
    );
  });

  it('anything else is none', () => {
    const whole = { id: 'q.k', hop: 1, attempt: 1, state: 'queued', at: {} };
    expect(decodeRecord(bytes(JSON.stringify(whole)))).toEqual(whole);
    for (const field of Object.keys(whole))
      expect(decodeRecord(bytes(JSON.stringify({ ...whole, [field]: undefined }))), field).toBeUndefined();
    for (const text of [
      '',
      'null',
      '[]',
      '1',
      '"x"',
      '{',
      JSON.stringify({ ...whole, state: 'asleep' }),
      JSON.stringify({ ...whole, at: null }),
    ])
      expect(decodeRecord(bytes(text)), text).toBeUndefined();
    expect(decodeRecord(new Uint8Array([0xff, 0xfe]))).toBeUndefined();
  });

  it('three states are final', () => {
    expect(TASK_STATES.filter(isFinal)).toEqual(['completed', 'cancelled', 'dead']);
  });
});
