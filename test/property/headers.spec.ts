import {
  assertHeaderValue,
  decodeHeaders,
  encodeHeaders,
  HEADER,
  type HeaderPair,
  headerValue,
  JetlaneError,
  parseTaskHeaders,
  stripServerHeaders,
  withHeaders,
} from '@jetlane/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const text = (pairs: readonly HeaderPair[]): string => Buffer.from(encodeHeaders(pairs)).toString();
const name = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,20}$/);
const value = fc.string({ unit: 'grapheme', maxLength: 60 }).map((raw) => raw.replace(/[\r\n]/g, '').trim());
const pairs = fc.array(fc.tuple(name, value), { maxLength: 12 });
/** What a hostile or broken client may put where a header block is expected. */
const block = fc.oneof(
  fc.string(),
  fc
    .array(
      fc.constantFrom(
        'NATS/1.0',
        '\r\n',
        ':',
        ' ',
        'Task-Hop',
        'Task-Type',
        'Task-Attempt',
        'Nats-Msg-Id',
        '-1',
        '1e400',
        '99999999999999999999',
        'x',
        '\0',
        '\r',
        '\n',
        '404 ',
        'é',
      ),
      { maxLength: 60 },
    )
    .map((parts) => parts.join('')),
);

describe('header codec', () => {
  it('gives back what was written, in order, repeated names too', () => {
    fc.assert(
      fc.property(pairs, (written) => {
        expect(decodeHeaders(text(written))).toEqual(written);
      }),
    );
  });

  it('reads any block without throwing', () => {
    fc.assert(
      fc.property(block, (hostile) => {
        for (const [key, content] of decodeHeaders(hostile)) expect(typeof key + typeof content).toBe('stringstring');
      }),
      { numRuns: 1000 },
    );
  });

  it('reads the task headers of any block, or says which one is wrong', () => {
    fc.assert(
      fc.property(block, (hostile) => {
        try {
          const { hop, attempt } = parseTaskHeaders(hostile);
          expect(Number.isSafeInteger(hop) && hop >= 1 && Number.isSafeInteger(attempt) && attempt >= 1).toBe(true);
        } catch (error) {
          expect((error as JetlaneError).code).toBe('invalid-headers');
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('agrees with the plain decoder on every task header, also when one is repeated', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom(HEADER.type, HEADER.group, HEADER.flow, HEADER.reply), value), { maxLength: 8 }),
        (written) => {
          const parsed = parseTaskHeaders(text(written));
          expect(parsed.type).toBe(headerValue(written, HEADER.type));
          expect(parsed.group).toBe(headerValue(written, HEADER.group));
          expect(parsed.flow).toBe(headerValue(written, HEADER.flow));
        },
      ),
    );
    const twice = text([
      [HEADER.hop, '1'],
      [HEADER.hop, '5'],
    ]);
    expect(parseTaskHeaders(twice).hop).toBe(5);
    expect(headerValue(decodeHeaders(twice), HEADER.hop)).toBe('5');
  });

  it('names the number that is none', () => {
    for (const wrong of ['0', '-1', '1.5', 'x', '', '1e400', '9007199254740993']) {
      expect(() => parseTaskHeaders(text([[HEADER.hop, wrong]])), wrong).toThrow(/header Task-Hop must be a whole number from 1/);
    }
  });

  it('refuses a value that would end its line', () => {
    for (const wrong of ['a\r\nNats-TTL: 1s', 'a\nb', 'a\r']) expect(() => assertHeaderValue('Task-Group', wrong)).toThrow(JetlaneError);
    expect(() => assertHeaderValue('Task-Group', 'a b: c')).not.toThrow();
  });
});

describe('header hygiene', () => {
  it('drops every header of the server, in any case, and nothing else', () => {
    const mixed = fc.array(
      fc.tuple(
        fc.oneof(
          name,
          fc.tuple(fc.constantFrom('Nats-', 'nats-', 'NATS-', 'nAtS-'), name).map((parts) => parts.join('')),
        ),
        value,
      ),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(mixed, (written) => {
        expect(stripServerHeaders(written)).toEqual(written.filter(([key]) => !key.toLowerCase().startsWith('nats-')));
      }),
    );
  });

  it('sets some names and leaves the others as they were', () => {
    fc.assert(
      fc.property(
        pairs,
        fc.dictionary(name, fc.option(value, { nil: undefined }), { maxKeys: 4, noNullPrototype: true }),
        (written, changes) => {
          const changed = withHeaders(written, changes);
          for (const [key, content] of Object.entries(changes)) expect(headerValue(changed, key)).toBe(content);
          const others = (list: readonly HeaderPair[]) => list.filter(([key]) => !Object.hasOwn(changes, key));
          expect(others(changed)).toEqual(others(written));
        },
      ),
    );
  });

  it('keeps a header that is called like a property of every object', () => {
    const odd: HeaderPair[] = [
      ['constructor', 'a'],
      ['toString', 'b'],
    ];
    expect(withHeaders(odd, { 'Task-Hop': 2 })).toEqual([...odd, ['Task-Hop', '2']]);
  });
});
