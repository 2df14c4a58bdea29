import { type Connection, deleteMessage, directGetNext, type StoredMessage } from '@jetlane/jetstream';
import { encodeHeaders, HEADER, headerValue, withHeaders } from '@jetlane/protocol';
import { eventBody, eventHeaders, readEventHeaders } from './dead-event.js';

/** An event that a reader gave up. */
export interface DeadEvent {
  /** Name of the reader: service, pattern and a hash. */
  readonly reader: string;
  readonly subject: string;
  readonly reason: string | undefined;
  readonly error: { readonly name: string; readonly message: string; readonly code?: string } | undefined;
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
}

/** Dead events, oldest first. */
export async function listDeadEvents(connection: Connection, filter: DeadEventFilter = {}): Promise<DeadEvent[]> {
  return (await find(connection, filter)).map((stored) => describe(connection, stored));
}

/**
 * Hands dead events to their readers again, and to nobody else; each begins with its first attempt.
 * @returns how many
 */
export async function redriveDeadEvents(connection: Connection, filter: DeadEventFilter = {}): Promise<number> {
  const { names } = connection;
  const found = await find(connection, filter);
  for (const stored of found) {
    const { reader, subject, sequence } = describe(connection, stored);
    const data = await eventBody(connection, stored);
    if (!data) continue;
    const headers = withHeaders(eventHeaders(stored.headers), { [HEADER.msgId]: `${names.deadEvents}:${sequence}` });
    // A crash before the publish leaves the dead event; one between the two leaves both, and the next redrive is a duplicate of this one
    // within two minutes, later a second run; one after the delete leaves the event with its reader.
    await connection.publish(names.redrivenEvent(reader, subject), data, encodeHeaders(headers));
    await deleteMessage(connection, names.deadEvents, sequence);
  }
  return found.length;
}

async function find(connection: Connection, { reader = '*', limit = 100 }: DeadEventFilter): Promise<StoredMessage[]> {
  const { names } = connection;
  const found: StoredMessage[] = [];
  for (let from = 1; found.length < limit; ) {
    const stored = await directGetNext(connection, names.deadEvents, from, names.deadEvent(reader, '*'));
    if (!stored) break;
    found.push(stored);
    from = stored.sequence + 1;
  }
  return found;
}

function describe({ names }: Connection, { subject, headers, sequence, data }: StoredMessage): DeadEvent {
  const error = headerValue(headers, HEADER.deadError);
  return {
    reader: names.tokens(subject)[0] ?? '',
    ...readEventHeaders(headers),
    reason: headerValue(headers, HEADER.deadReason),
    error: error === undefined ? undefined : (JSON.parse(error) as DeadEvent['error']),
    sequence,
    data,
  };
}
