import { type Count, type DeadLetterFilter, HEADER, headerValue } from '@jetlane/protocol';
import type { Connection } from './connection.js';
import type { StoredMessage } from './stored.js';
import { type Batch, countFrom, directGetBatch } from './stored-batch.js';

/** Where a look at the dead letters begins and ends. */
export interface ScanOptions {
  /** Only what stands behind this sequence. Default 0. */
  readonly after?: number;
  /** The last sequence to look at. Default: the end. */
  readonly until?: number;
  /** Most dead letters to give back. */
  readonly limit: number;
}

/** What a look found, oldest first. */
export interface ScanPage {
  readonly letters: readonly StoredMessage[];
  /** Where to go on; missing when all was seen. */
  readonly next?: number;
  /** Dead letters that were looked at. */
  readonly scanned: number;
}

/** Most dead letters, and most bytes, that one page looks at: a page takes well under a second and a few dozen MB at most. */
const MOST_SCANNED = 10_000;
const MOST_BYTES = 32 * 1024 * 1024;
const BATCH = 1000;
const BATCH_BYTES = 4 * 1024 * 1024;

const HEADERS_OF = [
  ['type', HEADER.type],
  ['fingerprint', HEADER.fingerprint],
  ['reason', HEADER.deadReason],
] as const;

/**
 * Reads a page of dead letters. The queue is a subject and the time an index of the server; type, fingerprint and reason are
 * headers and read one by one, so what a page looks at is bounded: it may find nothing and still have a `next`.
 * From any replica, so it may be a moment behind.
 */
export async function scanDeadLetters(connection: Connection, filter: DeadLetterFilter, options: ScanOptions): Promise<ScanPage> {
  const letters: StoredMessage[] = [];
  let [position, scanned, bytes] = [options.after ?? 0, 0, 0];
  while (letters.length < options.limit && scanned < MOST_SCANNED && bytes < MOST_BYTES) {
    const most = byHeaders(filter) ? BATCH : Math.min(BATCH, options.limit - letters.length);
    const { messages, pending } = await readOn(connection, filter, position, most);
    for (const message of messages) {
      if (message.sequence > (options.until ?? Number.POSITIVE_INFINITY) || message.storedAt >= (filter.to ?? Number.POSITIVE_INFINITY))
        return { letters, scanned };
      scanned++;
      bytes += message.data.length;
      position = message.sequence;
      if (matches(message, filter)) letters.push(message);
      if (letters.length === options.limit) break;
    }
    if (pending === 0 && position === (messages.at(-1)?.sequence ?? position)) return { letters, scanned };
  }
  return { letters, next: position, scanned };
}

const byHeaders = (filter: DeadLetterFilter): boolean => HEADERS_OF.some(([field]) => filter[field] !== undefined);

const subjectOf = ({ names }: Connection, { queue }: DeadLetterFilter): string =>
  queue === undefined ? names.pattern('dead.>') : names.dead(queue, '*');

function readOn(connection: Connection, filter: DeadLetterFilter, position: number, batch: number): Promise<Batch> {
  const from = position === 0 && filter.from !== undefined ? { time: filter.from } : { sequence: position + 1 };
  return directGetBatch(connection, connection.names.deadLetters, {
    subject: subjectOf(connection, filter),
    from,
    batch,
    maxBytes: BATCH_BYTES,
  });
}

function matches(message: StoredMessage, filter: DeadLetterFilter): boolean {
  if (message.storedAt < (filter.from ?? 0)) return false;
  return HEADERS_OF.every(([field, header]) => filter[field] === undefined || headerValue(message.headers, header) === filter[field]);
}

/** How many there are: exact when the server can count them by subject, else as many as the given page shows. */
export async function totalOf(connection: Connection, filter: DeadLetterFilter, after: number, page: ScanPage): Promise<Count> {
  const whole = after === 0 && page.next === undefined;
  if (whole || !isCountable(filter)) return { count: page.letters.length, exact: whole };
  return { count: await countDeadLetters(connection, filter, 1), exact: true };
}

/** True for a filter that the server can count. */
export const isCountable = (filter: DeadLetterFilter): boolean =>
  !byHeaders(filter) && filter.from === undefined && filter.to === undefined;

/** Counts the dead letters of a countable filter between two sequences. */
export async function countDeadLetters(connection: Connection, filter: DeadLetterFilter, from: number, until?: number): Promise<number> {
  const { deadLetters } = connection.names;
  const subject = subjectOf(connection, filter);
  const [all, beyond] = await Promise.all([
    countFrom(connection, deadLetters, subject, from),
    until === undefined ? 0 : countFrom(connection, deadLetters, subject, until + 1),
  ]);
  return Math.max(0, all - beyond);
}
