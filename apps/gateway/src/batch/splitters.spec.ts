import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ArraySplitter } from './array-splitter.js';
import { NdjsonSplitter } from './ndjson-splitter.js';
import { type Splitter, TEXT_LIMIT } from './splitter.js';

type Read = { pieces: [line: number, text: string | undefined][]; error?: string };

/** All that a splitter gives for a text cut into chunks of the given lengths, in turn. */
function read(splitter: Splitter, text: Buffer, lengths: readonly number[]): Read {
  const pieces: Read['pieces'] = [];
  const take = (found: ReturnType<Splitter['push']>): void => {
    for (const { line, text } of found) pieces.push([line, text?.toString()]);
  };
  try {
    for (let at = 0, i = 0; at < text.length; i++) {
      const length = lengths[i % lengths.length]!;
      take(splitter.push(text.subarray(at, at + length)));
      at += length;
    }
    take(splitter.end());
    return { pieces };
  } catch (error) {
    return { pieces, error: (error as Error).message };
  }
}

const chunking = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 });
const space = fc.stringMatching(/^[ \n\r\t]{0,3}$/);

describe('ArraySplitter', () => {
  it('finds exactly the elements, however the bytes are cut and spaced', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue()), chunking, space, (values, lengths, gap) => {
        const text = `${gap}[${gap}${values.map((value) => JSON.stringify(value)).join(`${gap},${gap}`)}${gap}]${gap}`;
        const { pieces, error } = read(new ArraySplitter(), Buffer.from(text), lengths);
        expect(error).toBeUndefined();
        expect(pieces.map(([, piece]) => JSON.parse(piece!) as unknown)).toEqual(
          values.map((value) => JSON.parse(JSON.stringify(value)) as unknown),
        );
        expect(pieces.map(([line]) => line)).toEqual(values.map((_, i) => i + 1));
      }),
    );
  });

  it('gives the same for any text, however the bytes are cut', () => {
    const text = fc.stringMatching(/^[ [\]{}",:\\a1]{0,40}$/).map((tail) => Buffer.from(`[${tail}`));
    fc.assert(
      fc.property(text, chunking, (bytes, lengths) => {
        expect(read(new ArraySplitter(), bytes, lengths)).toEqual(read(new ArraySplitter(), bytes, [1000]));
      }),
    );
  });

  it('keeps no element that is too long', () => {
    const { pieces } = read(new ArraySplitter(), Buffer.from(`["${'x'.repeat(TEXT_LIMIT)}",2]`), [65_536]);
    expect(pieces).toEqual([
      [1, undefined],
      [2, '2'],
    ]);
  });
});

describe('NdjsonSplitter', () => {
  it('finds exactly the lines that are not blank, however the bytes are cut', () => {
    const line = fc.oneof(
      space.map((text) => text.replaceAll('\n', '')),
      fc.jsonValue().map((value) => JSON.stringify(value)),
    );
    fc.assert(
      fc.property(fc.array(line), chunking, fc.boolean(), (lines, lengths, closed) => {
        const text = lines.join('\n') + (closed ? '\n' : '');
        const expected = lines.flatMap((value, i): Read['pieces'] => (value.trim() ? [[i + 1, value]] : []));
        expect(read(new NdjsonSplitter(), Buffer.from(text), lengths)).toEqual({ pieces: expected });
      }),
    );
  });

  it('keeps no line that is too long', () => {
    const { pieces } = read(new NdjsonSplitter(), Buffer.from(`${'x'.repeat(TEXT_LIMIT + 1)}\n2`), [65_536]);
    expect(pieces).toEqual([
      [1, undefined],
      [2, '2'],
    ]);
  });
});
