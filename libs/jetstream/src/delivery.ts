import { begins, type Frame } from './frame.js';
import type { TextBuffer } from './wire-message.js';

/** One hand-over of a stored message by the server. */
export class Delivery {
  /** The server's count of hand-overs, from 1. */
  readonly count: number;
  readonly streamSequence: number;
  /** When the server stored the message, ms since 1970. */
  readonly storedAt: number;
  /** Messages behind this one that the consumer has not handed out. */
  readonly pending: number;
  // What the socket brought, and where the parts of this message lie in it: texts are made when somebody asks.
  private readonly buffer: TextBuffer;
  private readonly subjectAt: number;
  private readonly subjectEnd: number;
  private readonly replyAt: number;
  private readonly replyEnd: number;
  private readonly headersAt: number;
  private readonly bodyAt: number;
  private readonly end: number;

  /**
   * Reads the reply subject `$JS.ACK.<stream>.<consumer>.<count>.<stream seq>.<consumer seq>.<time ns>.<pending>`, or the longer form
   * with domain and account hash, which has the same fields from the stream's name on (ADR-15).
   * @param epoch number of the link over which it came; see {@link Connection.epoch}
   * @param prefix `$JS.ACK.<stream>.<consumer>.`: behind it the numbers of the short form begin
   */
  constructor(
    frame: Frame,
    readonly epoch: number,
    prefix: string,
  ) {
    const { buffer, replyAt, replyEnd } = frame;
    this.buffer = buffer;
    this.subjectAt = frame.subjectAt;
    this.subjectEnd = frame.subjectEnd;
    this.replyAt = replyAt;
    this.replyEnd = replyEnd;
    this.headersAt = frame.headersAt;
    this.bodyAt = frame.bodyAt;
    this.end = frame.end;
    const count = begins(buffer, replyAt, replyEnd, prefix) ? replyAt + prefix.length : longFormStart(buffer, replyAt);
    const sequence = behindDot(buffer, count);
    const consumerSequence = behindDot(buffer, sequence);
    const time = behindDot(buffer, consumerSequence);
    const pending = behindDot(buffer, time);
    this.count = wholeNumber(buffer, count, sequence - 1);
    this.streamSequence = wholeNumber(buffer, sequence, consumerSequence - 1);
    this.storedAt = wholeNumber(buffer, time, pending - 1 - NANO_DIGITS);
    this.pending = wholeNumber(buffer, pending, replyEnd);
  }

  get subject(): string {
    return this.buffer.utf8Slice(this.subjectAt, this.subjectEnd);
  }

  /** Last token of the subject: of a task, its key. */
  get key(): string {
    let at = this.subjectEnd;
    while (at > this.subjectAt && this.buffer[at - 1] !== DOT) at--;
    return this.buffer.utf8Slice(at, this.subjectEnd);
  }

  /** Where acknowledgements go. */
  get reply(): string {
    return this.buffer.utf8Slice(this.replyAt, this.replyEnd);
  }

  /** The header block as text; empty when the message has none. Made anew at every call. */
  get headers(): string {
    return this.headersAt < this.bodyAt ? this.buffer.utf8Slice(this.headersAt, this.bodyAt) : '';
  }

  get data(): Uint8Array {
    return this.buffer.subarray(this.bodyAt, this.end);
  }

  /** Length of the body, in bytes. */
  get size(): number {
    return this.end - this.bodyAt;
  }

  /** The body as UTF-8 text. */
  text(): string {
    return this.bodyAt < this.end ? this.buffer.utf8Slice(this.bodyAt, this.end) : '';
  }

  /** Writes the reply subject. @returns where it ends */
  writeReply(target: Uint8Array, at: number): number {
    const { buffer, replyEnd } = this;
    let to = at;
    for (let from = this.replyAt; from < replyEnd; from++, to++) target[to] = buffer[from]!;
    return to;
  }

  /** Bytes of the reply subject. */
  get replySize(): number {
    return this.replyEnd - this.replyAt;
  }
}

const DOT = 46;
const ZERO = 48;
/** Digits that tell nanoseconds from milliseconds. */
const NANO_DIGITS = 6;

/** Where the numbers begin in `$JS.ACK.<domain>.<account hash>.<stream>.<consumer>.…`. */
function longFormStart(buffer: Uint8Array, from: number): number {
  let at = from;
  for (let dots = 0; dots < 6; dots++) at = behindDot(buffer, at);
  return at;
}

function behindDot(buffer: Uint8Array, from: number): number {
  let at = from;
  while (at < buffer.length && buffer[at] !== DOT) at++;
  return at + 1;
}

/** The number between two places. */
function wholeNumber(buffer: Uint8Array, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at++) {
    const digit = buffer[at]! - ZERO;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  return value;
}

/** True for a message with the reply subject of a JetStream delivery. */
export const isDelivery = (frame: Frame): boolean => frame.repliesUnder('$JS.ACK.');
