import type { Msg } from '@nats-io/nats-core';
import { hasReplyUnder, takeApart, textBetween } from './wire-message.js';

/** One hand-over of a stored message by the server. */
export class Delivery {
  /** The header block as text; empty when the message has none. */
  readonly headers: string;

  constructor(
    readonly subject: string,
    /** Where acknowledgements go. */
    readonly reply: string,
    /** The server's count of hand-overs, from 1. */
    readonly count: number,
    readonly streamSequence: number,
    /** When the server stored the message, ms since 1970. */
    readonly storedAt: number,
    /** Messages behind this one that the consumer has not handed out. */
    readonly pending: number,
    /** Number of the link over which it came; see {@link Connection.epoch}. */
    readonly epoch: number,
    /** Header block and body, as they came. */
    private readonly raw: Uint8Array,
    private readonly bodyAt: number,
  ) {
    this.headers = textBetween(raw, 0, bodyAt);
  }

  get data(): Uint8Array {
    return this.raw.subarray(this.bodyAt);
  }

  /** Length of the body, in bytes. */
  get size(): number {
    return this.raw.length - this.bodyAt;
  }

  /** The body as UTF-8 text. */
  text(): string {
    return textBetween(this.raw, this.bodyAt, this.raw.length);
  }
}

/**
 * Reads `$JS.ACK.<stream>.<consumer>.<count>.<stream seq>.<consumer seq>.<time ns>.<pending>`, or the longer form with
 * domain and account hash, which has the same fields from the stream's name on (ADR-15).
 * @param prefix `$JS.ACK.<stream>.<consumer>.`: behind it the numbers of the short form begin
 */
export function readDelivery(message: Msg, epoch: number, prefix: string): Delivery {
  const { subject, reply, raw, bodyAt } = takeApart(message);
  const start = reply.startsWith(prefix) ? prefix.length : longFormStart(reply);
  const sequence = reply.indexOf('.', start) + 1;
  const consumerSequence = reply.indexOf('.', sequence) + 1;
  const time = reply.indexOf('.', consumerSequence) + 1;
  const pending = reply.indexOf('.', time) + 1;
  return new Delivery(
    subject,
    reply,
    wholeNumber(reply, start),
    wholeNumber(reply, sequence),
    Math.floor(wholeNumber(reply, time) / 1e6),
    wholeNumber(reply, pending),
    epoch,
    raw,
    bodyAt,
  );
}

/** Where the numbers begin in `$JS.ACK.<domain>.<account hash>.<stream>.<consumer>.…`. */
function longFormStart(reply: string): number {
  let at = 0;
  for (let dots = 0; dots < 6; dots++) at = reply.indexOf('.', at) + 1;
  return at;
}

const isDigit = (text: string, at: number): boolean => {
  const code = text.charCodeAt(at);
  return code >= 48 && code <= 57;
};

/** The number that begins at a place. Digits are added up in place: cutting and parsing substrings cost more than the rest of this file. */
function wholeNumber(text: string, from: number): number {
  let value = 0;
  for (let at = from; isDigit(text, at); at++) value = value * 10 + text.charCodeAt(at) - 48;
  return value;
}

/** True for a reply subject of a JetStream delivery. */
export const isDelivery = (message: Msg): boolean => hasReplyUnder(message, '$JS.ACK.');
