import { isBlank, type Piece, type Splitter, TextBuffer } from './splitter.js';

const LINE_FEED = 0x0a;

/** Newline-delimited JSON: a task per line. Blank lines are passed over, but counted; the last line needs no line feed. */
export class NdjsonSplitter implements Splitter {
  private readonly text = new TextBuffer();
  private line = 1;

  push(chunk: Buffer): Piece[] {
    const pieces: Piece[] = [];
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      this.text.add(chunk.subarray(start, end));
      this.take(pieces);
      start = end + 1;
    }
    this.text.add(chunk.subarray(start));
    return pieces;
  }

  end(): Piece[] {
    const pieces: Piece[] = [];
    this.take(pieces);
    return pieces;
  }

  private take(pieces: Piece[]): void {
    const text = this.text.take();
    if (text === undefined || !isBlank(text)) pieces.push({ line: this.line, text });
    this.line++;
  }
}
