import { JetlaneError } from '@jetlane/protocol';
import { isBlank, isSpace, type Piece, type Splitter, TextBuffer } from './splitter.js';

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN = new Set([0x5b, 0x7b]);
const CLOSE = new Set([0x5d, 0x7d]);
const ARRAY_OPEN = 0x5b;

/**
 * A JSON array: a task per element; the line of a task is its place in the array. It only finds where elements end and
 * leaves their reading to the JSON parser: a parser that builds values event by event costs several times as much, and
 * ends at the first broken element.
 *
 * States: before → inside ⇄ string → after.
 */
export class ArraySplitter implements Splitter {
  private readonly text = new TextBuffer();
  private state: 'before' | 'inside' | 'string' | 'after' = 'before';
  private depth = 0;
  private line = 1;
  private escaped = false;
  /** Told after the elements before it, wherever the chunks were cut. */
  private broken: JetlaneError | undefined;

  push(chunk: Buffer): Piece[] {
    if (this.broken) throw this.broken;
    const pieces: Piece[] = [];
    let start = 0;
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i]!;
      switch (this.state) {
        case 'before':
          if (this.opens(byte)) start = i + 1;
          break;
        case 'string':
          i = this.skipString(chunk, i);
          break;
        case 'after':
          if (isSpace(byte)) break;
          this.broken = new JetlaneError('invalid-json', 'there is text behind the end of the array');
          return pieces;
        default:
          if (this.endsElement(byte)) {
            this.text.add(chunk.subarray(start, i));
            this.take(pieces);
            start = i + 1;
          }
      }
    }
    if (this.state === 'inside' || this.state === 'string') this.text.add(chunk.subarray(start));
    return pieces;
  }

  end(): Piece[] {
    if (this.broken) throw this.broken;
    if (this.state === 'after') return [];
    throw new JetlaneError(
      'invalid-json',
      this.state === 'before' ? 'the body is empty; expected a JSON array' : 'the array is not closed',
    );
  }

  private opens(byte: number): boolean {
    if (isSpace(byte)) return false;
    if (byte !== ARRAY_OPEN) {
      throw new JetlaneError(
        'invalid-json',
        'expected a JSON array of tasks; send one task to /api/queue/enqueue, or a task per line as application/x-ndjson',
      );
    }
    this.state = 'inside';
    return true;
  }

  /** Index of the last byte of the string, or of the chunk. */
  private skipString(chunk: Buffer, from: number): number {
    for (let i = from; i < chunk.length; i++) {
      const byte = chunk[i]!;
      if (this.escaped) this.escaped = false;
      else if (byte === BACKSLASH) this.escaped = true;
      else if (byte === QUOTE) {
        this.state = 'inside';
        return i;
      }
    }
    return chunk.length;
  }

  private endsElement(byte: number): boolean {
    if (byte === QUOTE) this.state = 'string';
    else if (OPEN.has(byte)) this.depth++;
    else if (CLOSE.has(byte)) {
      if (this.depth === 0) this.state = 'after';
      return this.depth-- === 0;
    }
    return byte === COMMA && this.depth === 0;
  }

  private take(pieces: Piece[]): void {
    const text = this.text.take();
    const empty = text !== undefined && isBlank(text);
    // `[]` has no element; an empty one elsewhere is an error that the parser will tell.
    if (!(empty && this.line === 1 && this.state === 'after')) pieces.push({ line: this.line, text });
    this.line++;
  }
}
