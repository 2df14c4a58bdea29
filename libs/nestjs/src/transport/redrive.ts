import { type Connection, deleteMessage, directGetNext, type StoredMessage } from '@jetlane/jetstream';
import { encodeHeaders, HEADER, withHeaders } from '@jetlane/protocol';
import { type DeadEventError, eventBody, eventHeaders, isPlain, isTooLarge, readEventHeaders } from './dead-event.js';
import { hearsRedriven } from './provision.js';

/** An event that a reader gave up. */
export interface DeadEvent {
  /** Name of the reader: service, pattern and a hash. */
  readonly reader: string;
  readonly subject: string;
  /** Why it was given up; `unreadable` for what is no dead event of a reader. */
  readonly reason: string | undefined;
  readonly error: DeadEventError | undefined;
  readonly attempts: number;
  /** Place in the stream of dead events. */
  readonly sequence: number;
  readonly data: Uint8Array;
  /** The body was too large to be kept beside the headers: `data` is empty, and a redrive takes it from the stream of events while that has it. */
  readonly bodyCut: boolean;
}

/** Which dead events. */
export interface DeadEventFilter {
  /** Name of the reader. Default: any. */
  readonly reader?: string;
  /** Most events. Default 100. */
  readonly limit?: number;
  /** Only those behind this place in the stream of dead events, as when the ones before were left. Default 0. */
  readonly after?: number;
}

/** Dead events, oldest first. */
export async function listDeadEvents(connection: Connection, filter: DeadEventFilter = {}): Promise<DeadEvent[]> {
  return (await find(connection, filter)).map((stored) => describe(connection, stored));
}

/** A dead event that a redrive left where it is. */
export interface LeftEvent {
  readonly reader: string;
  /** Place in the stream of dead events. */
  readonly sequence: number;
  /**
   * `no-reader`: nobody would get it; `body-gone`: it was cut, and the stream of events has forgotten it; `too-large`: it does not fit any more; `unreadable`:
   * it names no event.
   */
  readonly why: 'no-reader' | 'unreadable' | 'body-gone' | 'too-large';
}

/** What a redrive did. */
export interface RedrivenEvents {
  /** How many were handed to their readers. */
  readonly redriven: number;
  /** Those that stay dead events. */
  readonly left: readonly LeftEvent[];
}

/**
 * Hands dead events to their readers again, and to nobody else; each begins with its first attempt. A dead event whose reader is gone
 * (its consumer was deleted, or the process of a broadcast reader has ended) stays.
 */
export async function redriveDeadEvents(connection: Connection, filter: DeadEventFilter = {}): Promise<RedrivenEvents> {
  const readers = new Map<string, Promise<boolean>>();
  const left: LeftEvent[] = [];
  const found = await find(connection, filter);
  for (const stored of found) {
    const event = describe(connection, stored);
    const { reader, sequence } = event;
    if (!readers.has(reader)) readers.set(reader, hearsRedriven(connection, reader));
    const why = (await readers.get(reader)) ? await redrive(connection, stored, event) : 'no-reader';
    if (why) left.push({ reader, sequence, why });
  }
  return { redriven: found.length - left.length, left };
}

/** @returns why it was left; undefined when it was not */
async function redrive(connection: Connection, stored: StoredMessage, { reader, subject, sequence }: DeadEvent) {
  const { names } = connection;
  if (!isPlain(subject)) return 'unreadable';
  const data = await eventBody(connection, stored);
  if (!data) return 'body-gone';
  const headers = withHeaders(eventHeaders(stored.headers), { [HEADER.msgId]: `${names.deadEvents}:${sequence}` });
  try {
    // A crash before the publish leaves the dead event; one between the two leaves both, and the next redrive is a duplicate of this one
    // within two minutes, later a second run; one after the delete leaves the event with its reader.
    // Test: nestjs-transport-dead-events.spec.ts "leaves what has lost its reader".
    await connection.publish(names.redrivenEvent(reader, subject), data, encodeHeaders(headers));
  } catch (error) {
    if (isTooLarge(error)) return 'too-large';
    throw error;
  }
  await deleteMessage(connection, names.deadEvents, sequence);
  return undefined;
}

async function find(connection: Connection, { reader = '*', limit = 100, after = 0 }: DeadEventFilter): Promise<StoredMessage[]> {
  const { names } = connection;
  const found: StoredMessage[] = [];
  for (let from = after + 1; found.length < limit; ) {
    const stored = await directGetNext(connection, names.deadEvents, from, names.deadEvent(reader, '*'));
    if (!stored) break;
    found.push(stored);
    from = stored.sequence + 1;
  }
  return found;
}

const describe = ({ names }: Connection, { subject, headers, sequence, data }: StoredMessage): DeadEvent => ({
  reader: names.tokens(subject)[0] ?? '',
  ...readEventHeaders(headers),
  sequence,
  data,
});
