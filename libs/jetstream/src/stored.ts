import { decodeHeaders, type HeaderPair, headerValue, JetlaneError } from '@jetlane/protocol';
import type { Connection, CoreMessage } from './connection.js';
import { permissionDenied } from './denials.js';
import { apiCode } from './ensure.js';
import { statusCode } from './wire-message.js';

/** A message read back from a stream. */
export interface StoredMessage {
  readonly subject: string;
  readonly sequence: number;
  /** Milliseconds since 1970. */
  readonly storedAt: number;
  /** All headers, the server's own among them. */
  readonly headers: readonly HeaderPair[];
  readonly data: Uint8Array;
}

const READ_TIMEOUT_MS = 2000;
const STREAM_NOT_FOUND = 10059;

/** The last message of an exact subject, from any replica, or `undefined`. One round trip, whatever the stream's size. */
export async function directGet(connection: Connection, stream: string, subject: string): Promise<StoredMessage | undefined> {
  return stored(await connection.request(`$JS.API.DIRECT.GET.${stream}.${subject}`, undefined, READ_TIMEOUT_MS));
}

/** The message of a sequence, or `undefined`. */
export async function directGetSequence(connection: Connection, stream: string, sequence: number): Promise<StoredMessage | undefined> {
  return stored(await connection.request(`$JS.API.DIRECT.GET.${stream}`, JSON.stringify({ seq: sequence }), READ_TIMEOUT_MS));
}

/** The first message from a sequence on whose subject matches, or `undefined`. */
export async function directGetNext(
  connection: Connection,
  stream: string,
  from: number,
  subject: string,
): Promise<StoredMessage | undefined> {
  return stored(
    await connection.request(`$JS.API.DIRECT.GET.${stream}`, JSON.stringify({ seq: from, next_by_subj: subject }), READ_TIMEOUT_MS),
  );
}

/** The last message of a subject, from the stream's leader: what was confirmed to anybody is seen. */
export async function leaderGet(connection: Connection, stream: string, subject: string): Promise<StoredMessage | undefined> {
  return leaderRead(connection, stream, { last_by_subj: subject });
}

/**
 * As {@link leaderGet}; but where the stream itself is missing, as while a lane is made anew, nothing is known, and nothing is said.
 * @throws JetlaneError `no-responders`, to be tried again
 */
export async function sureGet(connection: Connection, stream: string, subject: string): Promise<StoredMessage | undefined> {
  return leaderRead(connection, stream, { last_by_subj: subject }, true);
}

/** The first message from a sequence on whose subject matches, from the stream's leader. */
export async function leaderGetNext(
  connection: Connection,
  stream: string,
  from: number,
  subject: string,
): Promise<StoredMessage | undefined> {
  return leaderRead(connection, stream, { seq: from, next_by_subj: subject });
}

/** The message of a sequence, from the stream's leader. */
export async function leaderGetSequence(connection: Connection, stream: string, sequence: number): Promise<StoredMessage | undefined> {
  return leaderRead(connection, stream, { seq: sequence });
}

interface GetAnswer {
  readonly error?: { readonly code: number; readonly err_code?: number; readonly description?: string };
  readonly message?: {
    readonly subject: string;
    readonly seq: number;
    readonly time: string;
    readonly hdrs?: string;
    readonly data?: string;
  };
}

async function leaderRead(connection: Connection, stream: string, query: object, needed = false): Promise<StoredMessage | undefined> {
  const answer = JSON.parse(
    decode((await connection.request(`$JS.API.STREAM.MSG.GET.${stream}`, JSON.stringify(query), READ_TIMEOUT_MS)).data),
  ) as GetAnswer;
  if (needed && answer.error?.err_code === STREAM_NOT_FOUND) throw missing(stream);
  if (answer.error?.code === 404) return undefined;
  const message = answer.message;
  if (!message) {
    throw new JetlaneError('jetstream-api', `stream "${stream}" cannot be read: ${answer.error?.description ?? 'unreadable answer'}`, {
      details: { errCode: answer.error?.err_code },
    });
  }
  return {
    subject: message.subject,
    sequence: message.seq,
    storedAt: Date.parse(message.time),
    headers: message.hdrs ? decodeHeaders(Buffer.from(message.hdrs, 'base64').toString()) : [],
    data: Buffer.from(message.data ?? '', 'base64'),
  };
}

const missing = (stream: string): JetlaneError =>
  new JetlaneError('no-responders', `stream "${stream}" is missing, so what is in it is not known; it is made again, or moved: try again`, {
    details: { stream },
  });

/**
 * Deletes one message. Returns false when it was gone already.
 * @throws JetlaneError `jetstream-api`, `permission-denied`
 */
export async function deleteMessage(connection: Connection, stream: string, sequence: number): Promise<boolean> {
  const { streams } = await connection.admin();
  try {
    return await streams.deleteMessage(stream, sequence, false);
  } catch (error) {
    if ([10043, 10057].includes(apiCode(error))) return false;
    throw (
      permissionDenied(error) ??
      new JetlaneError('jetstream-api', `message ${sequence} of stream "${stream}" cannot be deleted: ${(error as Error).message}`, {
        cause: error,
      })
    );
  }
}

/** Deletions in a row that delete nothing before {@link deleteSubject} gives up: others may be deleting the same. */
const MOST_IN_VAIN = 50;
const IN_VAIN_PAUSE_MS = 20;

/**
 * Deletes all messages of one subject, the newest first, one by one: by sequence, since a purge by subject takes from others what they
 * have in hand, see {@link trimRecords}.
 * @returns how many were deleted
 * @throws JetlaneError `jetstream-api` (also, retryable, when a message stands that cannot be deleted), `permission-denied`
 */
export async function deleteSubject(connection: Connection, stream: string, subject: string): Promise<number> {
  let deleted = 0;
  for (let inVain = 0; inVain < MOST_IN_VAIN; ) {
    const message = await leaderGet(connection, stream, subject);
    if (!message) return deleted;
    if (await deleteMessage(connection, stream, message.sequence)) {
      deleted++;
      inVain = 0;
    } else {
      inVain++;
      await new Promise((resolve) => setTimeout(resolve, IN_VAIN_PAUSE_MS));
    }
  }
  throw new JetlaneError(
    'jetstream-api',
    `"${subject}" of stream "${stream}" still has a message that the server says is gone, after ${MOST_IN_VAIN} tries to delete it; try again`,
    { retryable: true, details: { stream, subject, deleted } },
  );
}

/**
 * Removes the oldest records of a queue but for the last `keep`; returns how many were removed. The server counts and removes, by a purge by
 * subject, and that only this stream bears: elsewhere nats-server 2.15 moves the floor of a consumer with deliveries under way beyond some
 * that are not acknowledged, and never delivers those again (remove-copies.spec, queue-removal.spec). What must go there goes by sequence.
 * @throws JetlaneError `permission-denied`
 */
export async function trimRecords(connection: Connection, queue: string, keep: number): Promise<number> {
  const { names } = connection;
  const { streams } = await connection.admin();
  // The server takes 0 for "none is kept".
  if (keep < 1) throw new JetlaneError('invalid-argument', `expected keep to be at least 1, got ${keep}`);
  const { purged } = await streams.purge(names.taskStates, { filter: names.state(queue, '*'), keep }).catch((error: unknown) => {
    throw permissionDenied(error) ?? error;
  });
  return purged;
}

const utf8 = new TextDecoder();
const decode = (bytes: Uint8Array): string => utf8.decode(bytes);

function stored(answer: CoreMessage): StoredMessage | undefined {
  const code = statusCode(answer.headers);
  if (code === 404) return undefined;
  if (code !== 0) throw new JetlaneError('jetstream-api', `a direct get was refused: ${answer.headers.split('\r\n')[0]}`);
  const headers = decodeHeaders(answer.headers);
  return {
    subject: headerValue(headers, 'Nats-Subject') ?? '',
    sequence: Number(headerValue(headers, 'Nats-Sequence')),
    storedAt: Date.parse(headerValue(headers, 'Nats-Time-Stamp') ?? ''),
    headers,
    data: answer.data,
  };
}
