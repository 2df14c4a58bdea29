import type { Msg, NatsConnection, Subscription } from '@nats-io/nats-core';
import { newInbox } from './denials.js';
import { Frame } from './frame.js';
import { listenerThrew } from './listener-error.js';
import { type Parser, Reader } from './reader.js';

/** Takes a message; the frame is valid until it returns. */
export type FrameListener = (frame: Frame) => void;

/** A subscription whose messages are read here. */
export interface FrameSubscription {
  unsubscribe(): void;
  /** Tells the server that nothing more is wanted; resolves when all that was under way has been handed over. */
  drain(): Promise<void>;
}

/** The parts of nats-core's protocol handler that are used (protocol.js): `parser` is made anew for every link. */
interface Protocol {
  parser: Parser;
  inMsgs: number;
  inBytes: number;
  processMsg(parts: MessageParts, data: Uint8Array): void;
}

interface MessageParts {
  readonly subject: Uint8Array;
  readonly reply: Uint8Array | undefined;
  readonly sid: number;
  readonly hdr: number;
  readonly size: number;
}

/**
 * Reads what the socket brings. The client's parser looks at every byte of a command line through a state machine and makes four
 * views and two objects of every message; here one pass finds the blanks, and the listeners of this library get a frame that points
 * into the bytes. All else (PING, INFO, errors, messages of other subscriptions) goes to the client as it would without us.
 * Should a later client hide its parser, messages come by its callbacks (docs/decisions/0008).
 */
export class Inbound {
  private readonly listeners = new Map<number, FrameListener>();
  private readonly protocol: Protocol | undefined;

  constructor(private readonly nats: NatsConnection) {
    this.protocol = protocolOf(nats);
    if (this.protocol) this.readFor(this.protocol);
  }

  /** A subject of our own for answers. */
  newInbox(): string {
    return newInbox(this.nats);
  }

  /** Listens on a subject; survives reconnects. */
  subscribe(subject: string, listener: FrameListener): FrameSubscription {
    const hear = (frame: Frame) => {
      try {
        listener(frame);
      } catch (error) {
        listenerThrew(`the listener on ${subject}`, error);
      }
    };
    const subscription = this.nats.subscribe(subject, {
      callback: (error: Error | null, message: Msg) => {
        if (!error) hear(Frame.ofMessage(message));
      },
    });
    const sid = (subscription as Subscription & { readonly sid?: number }).sid;
    if (sid !== undefined) this.listeners.set(sid, hear);
    const forget = () => {
      if (sid !== undefined) this.listeners.delete(sid);
    };
    return {
      unsubscribe: () => {
        forget();
        if (!this.nats.isClosed()) subscription.unsubscribe();
      },
      drain: () => subscription.drain().finally(forget),
    };
  }

  /** Stands in front of every parser that the client makes. */
  private readFor(protocol: Protocol): void {
    let parser = this.inFrontOf(protocol, protocol.parser);
    Object.defineProperty(protocol, 'parser', {
      configurable: true,
      get: () => parser,
      set: (next: Parser) => {
        parser = this.inFrontOf(protocol, next);
      },
    });
  }

  private inFrontOf(protocol: Protocol, parser: Parser): Parser {
    const reader = new Reader(parser, (sid, frame) => this.deliver(protocol, sid, frame));
    return {
      get state() {
        return parser.state;
      },
      parse: (bytes) => reader.read(bytes),
    };
  }

  private deliver(protocol: Protocol, sid: number, frame: Frame): void {
    const listener = this.listeners.get(sid);
    if (listener === undefined) return protocol.processMsg(partsOf(sid, frame), frame.buffer.subarray(frame.headersAt, frame.end));
    protocol.inMsgs++;
    protocol.inBytes += frame.end - frame.headersAt;
    listener(frame);
  }
}

function partsOf(sid: number, frame: Frame): MessageParts {
  const { buffer, subjectAt, subjectEnd, replyAt, replyEnd, headersAt, bodyAt, end } = frame;
  return {
    subject: buffer.subarray(subjectAt, subjectEnd),
    reply: replyEnd > replyAt ? buffer.subarray(replyAt, replyEnd) : undefined,
    sid,
    hdr: bodyAt > headersAt ? bodyAt - headersAt : -1,
    size: end - headersAt,
  };
}

function protocolOf(nats: NatsConnection): Protocol | undefined {
  const { protocol } = nats as unknown as { protocol?: Partial<Protocol> };
  const known =
    typeof protocol?.processMsg === 'function' && typeof protocol.parser?.parse === 'function' && typeof protocol.parser.state === 'number';
  return known ? (protocol as Protocol) : undefined;
}
