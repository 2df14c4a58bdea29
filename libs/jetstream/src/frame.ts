import type { Msg } from '@nats-io/nats-core';
import { headerBlock, type TextBuffer, textBuffer } from './wire-message.js';

/**
 * A message as it lies in the bytes that the socket brought; nothing is cut out until somebody asks. `Inbound` moves
 * one frame from message to message: whoever is handed it reads what it needs before it returns.
 */
export class Frame {
  buffer: TextBuffer = textBuffer(new Uint8Array(0));
  subjectAt = 0;
  subjectEnd = 0;
  /** Equal to `replyEnd` when there is no reply subject. */
  replyAt = 0;
  replyEnd = 0;
  headersAt = 0;
  bodyAt = 0;
  end = 0;

  /** A frame of parts, for a client that hides its bytes, and for tests. */
  static of(subject: string, reply: string, headers: string, body: Uint8Array): Frame {
    const frame = new Frame();
    frame.subjectEnd = Buffer.byteLength(subject);
    frame.replyAt = frame.subjectEnd;
    frame.replyEnd = frame.replyAt + Buffer.byteLength(reply);
    frame.headersAt = frame.replyEnd;
    frame.bodyAt = frame.headersAt + Buffer.byteLength(headers);
    frame.buffer = textBuffer(Buffer.concat([Buffer.from(subject + reply + headers), body]));
    frame.end = frame.buffer.length;
    return frame;
  }

  /** A frame of the client's message. */
  static ofMessage(message: Msg): Frame {
    return Frame.of(message.subject, message.reply ?? '', headerBlock(message), message.data);
  }

  get subject(): string {
    return this.buffer.utf8Slice(this.subjectAt, this.subjectEnd);
  }

  /** The header block; empty when there is none. */
  get headers(): string {
    return this.headersAt < this.bodyAt ? this.buffer.utf8Slice(this.headersAt, this.bodyAt) : '';
  }

  /** The body as UTF-8 text. */
  get text(): string {
    return this.buffer.utf8Slice(this.bodyAt, this.end);
  }

  /** True when the reply subject begins with a text (of ASCII). */
  repliesUnder(prefix: string): boolean {
    return begins(this.buffer, this.replyAt, this.replyEnd, prefix);
  }

  /** The whole number that a token of the subject is, from a place in the subject on; NaN for any other token. */
  subjectNumber(from: number): number {
    let value = 0;
    for (let at = this.subjectAt + from; at < this.subjectEnd && this.buffer[at] !== DOT; at++) {
      const digit = this.buffer[at]! - ZERO;
      if (digit < 0 || digit > 9) return Number.NaN;
      value = value * 10 + digit;
    }
    return value;
  }
}

/** True when the bytes between two places begin with a text (of ASCII). */
export function begins(buffer: Uint8Array, from: number, to: number, prefix: string): boolean {
  if (to - from < prefix.length) return false;
  for (let i = 0; i < prefix.length; i++) if (buffer[from + i] !== prefix.charCodeAt(i)) return false;
  return true;
}

const DOT = 46;
const ZERO = 48;
