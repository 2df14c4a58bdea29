import type { Msg, MsgHdrs } from '@nats-io/nats-core';

/** Headers that are already bytes. nats-core only asks them to encode themselves. */
export class EncodedHeaders {
  constructor(readonly bytes: Uint8Array) {}

  encode(): Uint8Array {
    return this.bytes;
  }

  /** The client's type for headers is a class of its own; publishing needs nothing but `encode()` (nats-core protocol.js, publish). */
  asHeaders(): MsgHdrs {
    return this as unknown as MsgHdrs;
  }
}

interface RawMessage {
  readonly _rdata?: Uint8Array;
  readonly _msg?: { readonly hdr: number; readonly subject?: Uint8Array; readonly reply?: Uint8Array };
}

/**
 * The header block as text, or an empty string. Reads the raw bytes: decoding all headers into the client's map cost
 * more than the rest of a delivery. Falls back to the public way should a later client hide them.
 */
export function headerBlock(message: Msg): string {
  const raw = message as unknown as RawMessage;
  const length = raw._msg?.hdr;
  if (raw._rdata && length !== undefined) return length > 0 ? asBuffer(raw._rdata).utf8Slice(0, length) : '';
  return message.headers ? new TextDecoder().decode((message.headers as unknown as EncodedHeaders).encode()) : '';
}

/** Status code of a header block such as `NATS/1.0 404 No Messages`, or 0. */
export function statusCode(block: string): number {
  return block.charCodeAt(8) === 32 ? Number(block.slice(9, 12)) : 0;
}

/** Text behind the status code. */
export function statusText(block: string): string {
  return block.slice(13, block.indexOf('\r\n')).trim();
}

interface SlicingBuffer extends Buffer {
  utf8Slice(start: number, end: number): string;
}

function asBuffer(bytes: Uint8Array): SlicingBuffer {
  return (Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)) as SlicingBuffer;
}

/** UTF-8 text of bytes, without a copy of the bytes. */
export const text = (bytes: Uint8Array): string => textBetween(bytes, 0, bytes.length);

/** UTF-8 text of a message's body. */
export const bodyText = (message: { readonly data: Uint8Array }): string => text(message.data);

/** UTF-8 text of some of the bytes. */
export const textBetween = (bytes: Uint8Array, from: number, to: number): string => (from < to ? asBuffer(bytes).utf8Slice(from, to) : '');

/** The parts of a message: header block and body lie in `raw`, the body from `bodyAt` on. */
export function takeApart(message: Msg): { subject: string; reply: string; raw: Uint8Array; bodyAt: number } {
  const { _rdata: raw, _msg: parts } = message as unknown as RawMessage;
  if (raw && parts?.subject && parts.reply)
    return { subject: text(parts.subject), reply: text(parts.reply), raw, bodyAt: Math.max(0, parts.hdr) };
  const block = Buffer.from(headerBlock(message));
  return { subject: message.subject, reply: message.reply ?? '', raw: Buffer.concat([block, message.data]), bodyAt: block.length };
}

/** True when the reply subject begins with a text (of ASCII). */
export function hasReplyUnder(message: Msg, prefix: string): boolean {
  const bytes = (message as unknown as RawMessage)._msg?.reply;
  if (!bytes) return message.reply?.startsWith(prefix) ?? false;
  for (let i = 0; i < prefix.length; i++) if (bytes[i] !== prefix.charCodeAt(i)) return false;
  return true;
}

/** The whole number that a token of a subject is, from a place on; read from the raw bytes where the client shows them. NaN for any other token. */
export function subjectNumber(message: Msg, from: number): number {
  const bytes = (message as unknown as RawMessage)._msg?.subject ?? Buffer.from(message.subject);
  let value = 0;
  for (let at = from; at < bytes.length && bytes[at] !== 46; at++) {
    const digit = bytes[at]! - 48;
    if (digit < 0 || digit > 9) return Number.NaN;
    value = value * 10 + digit;
  }
  return value;
}
