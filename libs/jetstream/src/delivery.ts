import type { Msg } from '@nats-io/nats-core';
import { headerBlock } from './wire-message.js';

/** One hand-over of a stored message by the server. */
export interface Delivery {
  readonly subject: string;
  /** The header block as text; empty when the message has none. */
  readonly headers: string;
  readonly data: Uint8Array;
  /** Where acknowledgements go. */
  readonly reply: string;
  /** The server's count of hand-overs, from 1. */
  readonly count: number;
  readonly streamSequence: number;
  /** When the server stored the message, ms since 1970. */
  readonly storedAt: number;
  /** Messages behind this one that the consumer has not handed out. */
  readonly pending: number;
  /** Number of the link over which it came; see {@link Connection.epoch}. */
  readonly epoch: number;
}

/**
 * Reads `$JS.ACK.<stream>.<consumer>.<count>.<stream seq>.<consumer seq>.<time ns>.<pending>`, or the longer form with
 * domain and account hash, which has the same fields from the stream's name on (ADR-15).
 */
export function readDelivery(message: Msg, epoch: number): Delivery {
  const reply = message.reply ?? '';
  const tokens = reply.split('.');
  const at = tokens.length > 9 ? 6 : 4;
  return {
    subject: message.subject,
    headers: headerBlock(message),
    data: message.data,
    reply,
    count: Number(tokens[at]),
    streamSequence: Number(tokens[at + 1]),
    storedAt: Number(tokens[at + 3]!.slice(0, -6)),
    pending: Number(tokens[at + 4]),
    epoch,
  };
}

/** True for a reply subject of a JetStream delivery. */
export const isDelivery = (message: Msg): boolean => message.reply?.startsWith('$JS.ACK.') ?? false;
