/** Longest text of one task, in bytes. */
export const TEXT_LIMIT = 1_048_576;

/** The text of one task of a batch. `text` is undefined for one that was too long to keep. `line` counts from 1. */
export interface Piece {
  readonly line: number;
  readonly text: Buffer | undefined;
}

/** Cuts a stream into the texts of its tasks. It holds at most one of them. */
export interface Splitter {
  /** The texts that this chunk completes. @throws JetlaneError `invalid-json` when the stream cannot go on */
  push(chunk: Buffer): Piece[];
  /** The text that the end completes. @throws JetlaneError `invalid-json` when the stream ends too early */
  end(): Piece[];
}

/** Gathers the chunks of one text up to {@link TEXT_LIMIT}; what is longer is counted, not kept. */
export class TextBuffer {
  private parts: Buffer[] = [];
  private length = 0;

  add(part: Buffer): void {
    this.length += part.length;
    if (this.length > TEXT_LIMIT) this.parts = [];
    else if (part.length > 0) this.parts.push(part);
  }

  /** The text so far, or undefined when it was too long; then starts anew. */
  take(): Buffer | undefined {
    const { parts, length } = this;
    this.parts = [];
    this.length = 0;
    if (length > TEXT_LIMIT) return undefined;
    return parts.length === 1 ? parts[0] : Buffer.concat(parts, length);
  }
}

/** True for a text of white space only. */
export function isBlank(text: Buffer): boolean {
  for (const byte of text) {
    if (!isSpace(byte)) return false;
  }
  return true;
}

/** JSON's white space. */
export const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
