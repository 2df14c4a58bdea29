import type { NatsConnection } from '@nats-io/nats-core';
import { EncodedHeaders } from './wire-message.js';

/** What a message carries: bytes, or text that goes as UTF-8. Text is cheaper: it becomes bytes only in the write buffer. */
export type Payload = Uint8Array | string;

interface Frame {
  readonly subject: string;
  readonly reply: string;
  readonly headers: Payload | undefined;
  readonly data: Payload;
  /** First line of the protocol frame, CRLF included. */
  readonly line: string;
  /** Bytes of the whole frame. */
  readonly size: number;
}

/** The part of nats-core's protocol handler that takes ready bytes (protocol.js, sendCommand). */
interface ByteSink {
  sendCommand(bytes: Uint8Array): void;
}

interface WritableBuffer extends Buffer {
  utf8Write(text: string, offset: number): number;
}

const sizeOf = (payload: Payload): number => (typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length);

/**
 * Gathers what is published within one turn of the event loop and hands it to the socket as one buffer, framed here.
 * Message by message, the client checks both subjects by regular expression, allocates four buffers and flushes after every
 * callback: together a third of what a task cost (docs/decisions/0004).
 */
export class Outbox {
  private frames: Frame[] = [];
  private readonly sink: ByteSink | undefined;

  constructor(private readonly nats: NatsConnection) {
    const { protocol } = nats as unknown as { protocol?: Partial<ByteSink> };
    this.sink = typeof protocol?.sendCommand === 'function' ? (protocol as ByteSink) : undefined;
  }

  /**
   * Adds a message; it is sent at the end of the turn.
   * @throws TypeError for a subject that would break the frame, RangeError beyond the server's `max_payload`: at either the
   * server would cut the link
   */
  push(subject: string, reply: string, data: Payload, headers?: Payload): void {
    if (subject === '' || hasWhiteSpace(subject))
      throw new TypeError(`a subject must be without white space and not empty: ${JSON.stringify(subject)}`);
    const body = sizeOf(data);
    const head = headers === undefined ? 0 : sizeOf(headers);
    if (head + body > (this.nats.info?.max_payload ?? Number.POSITIVE_INFINITY)) throw new RangeError('max_payload size exceeded');
    const to = reply ? `${subject} ${reply}` : subject;
    const line = headers === undefined ? `PUB ${to} ${body}\r\n` : `HPUB ${to} ${head} ${head + body}\r\n`;
    if (this.frames.push({ subject, reply, headers, data, line, size: Buffer.byteLength(line) + head + body + 2 }) === 1)
      setImmediate(() => this.flush());
  }

  /** Sends what was gathered, now. */
  flush(): void {
    const { frames, sink } = this;
    if (frames.length === 0) return;
    this.frames = [];
    if (sink) sink.sendCommand(encode(frames));
    else for (const frame of frames) this.publish(frame);
  }

  /** Drops what was gathered: the link is down. */
  clear(): void {
    this.frames = [];
  }

  /** The public way, for a client that hides the other one. */
  private publish({ subject, reply, headers, data }: Frame): void {
    const block = typeof headers === 'string' ? Buffer.from(headers) : headers;
    this.nats.publish(subject, data, { ...(reply ? { reply } : {}), ...(block ? { headers: new EncodedHeaders(block).asHeaders() } : {}) });
  }
}

/** Cheaper than a regular expression on a text this short. */
const hasWhiteSpace = (text: string): boolean => text.includes(' ') || text.includes('\n') || text.includes('\r') || text.includes('\t');

function encode(frames: readonly Frame[]): Uint8Array {
  let size = 0;
  for (const frame of frames) size += frame.size;
  const buffer = Buffer.allocUnsafe(size) as WritableBuffer;
  let at = 0;
  for (const { line, headers, data } of frames) {
    at += buffer.utf8Write(line, at);
    if (headers !== undefined) at = append(buffer, at, headers);
    at = append(buffer, at, data);
    buffer[at++] = 13;
    buffer[at++] = 10;
  }
  return buffer;
}

function append(buffer: WritableBuffer, at: number, payload: Payload): number {
  if (typeof payload === 'string') return at + buffer.utf8Write(payload, at);
  buffer.set(payload, at);
  return at + payload.length;
}
