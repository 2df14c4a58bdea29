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
  readonly _msg?: { readonly hdr: number };
}

/**
 * The header block as text, or an empty string. Reads the raw bytes: decoding all headers into the client's map cost
 * more than the rest of a delivery. Falls back to the public way should a later client hide them.
 */
export function headerBlock(message: Msg): string {
  const raw = message as unknown as RawMessage;
  const length = raw._msg?.hdr;
  if (raw._rdata && length !== undefined) return length > 0 ? textBuffer(raw._rdata).utf8Slice(0, length) : '';
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

/** A buffer with a method that Node gives it beyond its types: a slice as text, without a look at an encoding's name. */
export interface TextBuffer extends Buffer {
  utf8Slice(start: number, end: number): string;
}

/** The same bytes as a buffer, without a copy. */
export function textBuffer(bytes: Uint8Array): TextBuffer {
  return (Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)) as TextBuffer;
}

/** UTF-8 text of a message's body. */
export const bodyText = ({ data }: { readonly data: Uint8Array }): string =>
  data.length > 0 ? textBuffer(data).utf8Slice(0, data.length) : '';
