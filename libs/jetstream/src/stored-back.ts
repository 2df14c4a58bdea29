import type { Connection } from './connection.js';
import type { StoredMessage } from './stored.js';
import { directGetBatch } from './stored-batch.js';

/** Which messages of a stream to read from its end. */
export interface BackRequest {
  /** Only messages whose subject matches. */
  readonly subject: string;
  /** Only what stands before this sequence. */
  readonly before: number;
  /** Nothing before this sequence is read. */
  readonly first: number;
  /** Most messages. */
  readonly limit: number;
}

const BATCH = 1000;
/** Widest window: what is found in one is read to its end. */
const WIDEST = 8192;

/**
 * Reads a stream from its end: the last messages before a sequence, newest first. The server reads forwards only, so this asks for
 * windows of the sequence that grow until enough was found: one request where most match, one for 8,192 messages where few do.
 */
export async function readBack(connection: Connection, stream: string, request: BackRequest): Promise<StoredMessage[]> {
  const { subject, first, limit } = request;
  const found: StoredMessage[] = [];
  let [end, width] = [request.before, limit];
  while (end > first && found.length < limit) {
    const from = Math.max(first, end - width);
    found.push(...(await readWindow(connection, stream, subject, from, end)).reverse());
    [end, width] = [from, Math.min(WIDEST, width * 4)];
  }
  return found.slice(0, limit);
}

/** All that matches from a sequence up to, but not at, another one. */
async function readWindow(connection: Connection, stream: string, subject: string, from: number, end: number): Promise<StoredMessage[]> {
  const found: StoredMessage[] = [];
  for (let next = from; next < end; ) {
    const { messages, pending } = await directGetBatch(connection, stream, {
      subject,
      from: { sequence: next },
      batch: Math.min(BATCH, end - next),
    });
    found.push(...messages.filter(({ sequence }) => sequence < end));
    next = (messages.at(-1)?.sequence ?? end) + 1;
    if (pending === 0) break;
  }
  return found;
}
