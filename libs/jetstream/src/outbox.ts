import type { NatsConnection } from '@nats-io/nats-core';
import type { Delivery } from './delivery.js';
import { EncodedHeaders } from './wire-message.js';

/** What a message carries: bytes, or text that goes as UTF-8. Text is cheaper: it becomes bytes only in the write buffer. */
export type Payload = Uint8Array | string;

/** The part of nats-core's protocol handler that takes ready bytes (protocol.js, sendCommand). */
interface ByteSink {
  sendCommand(bytes: Uint8Array): void;
}

interface WritableBuffer extends Buffer {
  utf8Write(text: string, offset: number): number;
}

const CHUNK = 64 * 1024;
/** What has gathered is sent at this size, so that the server begins while we go on. */
const ENOUGH = 32 * 1024;
/** Verb, sizes and line ends of a frame, in bytes. */
const FRAME_OVERHEAD = 40;
/** Sizes are written with leading zeros, once the parts are: so nothing has to be measured before. */
const SIZE_DIGITS = 8;
const NO_SIZE = '0'.repeat(SIZE_DIGITS);
const ACK_END = ' 4\r\n+ACK\r\n';
/** Longer texts are measured; shorter ones are given room for the worst case. */
const MEASURED = 8 * 1024;

/** Bytes that a payload takes at most. */
function mostBytes(payload: Payload): number {
  if (typeof payload !== 'string') return payload.length;
  return payload.length <= MEASURED ? payload.length * 3 : Buffer.byteLength(payload);
}

/**
 * Gathers what is published within one turn of the event loop and hands it to the socket as one buffer, framed here.
 * Message by message, the client checks both subjects by regular expression, allocates four buffers and flushes after every
 * callback: together a third of what a task cost (docs/decisions/0004). A message leaves no object behind: it is written
 * into the buffer at once.
 */
export class Outbox {
  private buffer = Buffer.allocUnsafe(0) as WritableBuffer;
  /** What lies between `from` and `at` is still to be sent. */
  private from = 0;
  private at = 0;
  private scheduled = false;
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
    if (!this.sink) return this.publish(subject, reply, data, headers);
    this.reserve(FRAME_OVERHEAD + 3 * (subject.length + reply.length) + mostBytes(data) + (headers === undefined ? 0 : mostBytes(headers)));
    const start = this.at;
    try {
      this.write(subject, reply, data, headers);
    } catch (error) {
      this.at = start;
      throw error;
    }
    if (this.at - this.from >= ENOUGH) this.flush();
    else this.schedule();
  }

  /** Adds a word of the protocol (ASCII) for the reply subject of a delivery. */
  answer(delivery: Delivery, word: string): void {
    if (!this.sink) return this.publish(delivery.reply, '', word, undefined);
    this.reserve(FRAME_OVERHEAD + delivery.replySize + word.length);
    const { buffer } = this;
    const end = delivery.writeReply(buffer, put(buffer, this.at, 'PUB '));
    this.at = put(buffer, end, word === '+ACK' ? ACK_END : ` ${word.length}\r\n${word}\r\n`);
    if (this.at - this.from >= ENOUGH) this.flush();
    else this.schedule();
  }

  private write(subject: string, reply: string, data: Payload, headers: Payload | undefined): void {
    const to = reply ? `${subject} ${reply}` : subject;
    const line = headers === undefined ? `PUB ${to} ${NO_SIZE}\r\n` : `HPUB ${to} ${NO_SIZE} ${NO_SIZE}\r\n`;
    const { buffer } = this;
    const start = this.at;
    const sizeAt = start + buffer.utf8Write(line, start) - 2;
    if (subject === '' || blanks(buffer, start, sizeAt) !== (reply ? 3 : 2) + (headers === undefined ? 0 : 1))
      throw new TypeError(`a subject must be without white space and not empty: ${JSON.stringify(subject)}`);
    const headAt = sizeAt + 2;
    const bodyAt = headers === undefined ? headAt : append(buffer, headAt, headers);
    const end = append(buffer, bodyAt, data);
    const size = end - headAt;
    if (size > (this.nats.info?.max_payload ?? Number.POSITIVE_INFINITY)) throw new RangeError('max_payload size exceeded');
    writeSize(buffer, sizeAt, size);
    if (headers !== undefined) writeSize(buffer, sizeAt - SIZE_DIGITS - 1, bodyAt - headAt);
    buffer[end] = 13;
    buffer[end + 1] = 10;
    this.at = end + 2;
  }

  /** Sends what was gathered, now. */
  flush(): void {
    const { from, at } = this;
    if (at === from) return;
    this.from = at;
    // What is behind `at` is written later: the part that is handed over here is never touched again.
    this.sink!.sendCommand(this.buffer.subarray(from, at));
  }

  /** Drops what was gathered: the link is down. */
  clear(): void {
    this.from = this.at;
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      this.flush();
    });
  }

  /** Makes room for a message; what was gathered before goes first when the chunk is full. */
  private reserve(bytes: number): void {
    if (this.buffer.length - this.at >= bytes) return;
    this.flush();
    this.buffer = Buffer.allocUnsafe(Math.max(CHUNK, bytes)) as WritableBuffer;
    this.from = 0;
    this.at = 0;
  }

  /** The public way, for a client that hides the other one. */
  private publish(subject: string, reply: string, data: Payload, headers: Payload | undefined): void {
    const block = typeof headers === 'string' ? Buffer.from(headers) : headers;
    this.nats.publish(subject, data, { ...(reply ? { reply } : {}), ...(block ? { headers: new EncodedHeaders(block).asHeaders() } : {}) });
  }
}

/** Writes a short text of ASCII. */
function put(buffer: Buffer, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) buffer[at + i] = text.charCodeAt(i);
  return at + text.length;
}

/** Counts white space and control characters between two places. */
function blanks(buffer: Buffer, from: number, to: number): number {
  let count = 0;
  for (let i = from; i < to; i++) if (buffer[i]! <= 32) count++;
  return count;
}

/** Writes the digits of a size so that they end before a place. */
function writeSize(buffer: Buffer, end: number, size: number): void {
  for (let i = end - 1, left = size; left > 0; i--) {
    const tens = Math.floor(left / 10);
    buffer[i] = 48 + left - tens * 10;
    left = tens;
  }
}

function append(buffer: WritableBuffer, at: number, payload: Payload): number {
  if (typeof payload === 'string') return at + buffer.utf8Write(payload, at);
  buffer.set(payload, at);
  return at + payload.length;
}
