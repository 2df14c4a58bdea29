import type { StoredMessage } from '@jetlane/jetstream';
import { decodeRecord, errorText, HEADER, headerValue, isFinal, type Names, type StateRecord, toMs } from '@jetlane/protocol';
import type { Row, Value } from './database.js';

/** Columns of a finished task, in the order of {@link rowOf}. */
export const COLUMNS =
  'seq, id, queue, state, lane, type, grp, attempt, hop, stored, expires, created, queued, started, finished, discarded, worker, reason, error';
const PLACES = COLUMNS.split(',')
  .map(() => '?')
  .join(', ');
/** A task has one row: its last record. */
export const INSERT = `INSERT OR REPLACE INTO tasks (${COLUMNS}) VALUES (${PLACES})`;

/** What a record means for the projection: a row, or that the task is not finished (any more). */
export interface Change {
  readonly id: string;
  readonly row?: readonly Value[];
}

/** Without a time to live a record stays until the stream's bounds push it out. */
const NEVER = Number.MAX_SAFE_INTEGER;

/** Reads a message of the record stream; a stranger's message changes nothing. */
export function changeOf(names: Names, message: StoredMessage): Change | undefined {
  const [queue, key] = names.tokens(message.subject);
  if (!queue || !key) return undefined;
  const id = `${queue}.${key}`;
  const record = decodeRecord(message.data);
  if (!record) return undefined;
  return isFinal(record.state) ? { id, row: rowOf(id, queue, message, record) } : { id };
}

function rowOf(id: string, queue: string, message: StoredMessage, record: StateRecord): Value[] {
  const { state, lane, type, group, attempt, hop, at = {}, worker, reason, error } = record;
  const ttl = headerValue(message.headers, HEADER.ttl);
  return [
    ...[message.sequence, id, queue, state, text(lane), text(type), text(group)],
    ...[count(attempt) ?? 1, count(hop) ?? 1, message.storedAt, Math.min(NEVER, ttl ? message.storedAt + lifetime(ttl) : NEVER)],
    ...[count(at.created), count(at.stored), count(at.started), count(at.finished), count(at.discarded)],
    ...[text(worker), text(reason), error ? errorText(error) : null],
  ];
}

const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);
const count = (value: unknown): number | null => (Number.isSafeInteger(value) ? (value as number) : null);

function lifetime(ttl: string): number {
  try {
    return /^\d+$/.test(ttl) ? Number(ttl) * 1000 : toMs(ttl as Parameters<typeof toMs>[0], 'ttl');
  } catch {
    return NEVER;
  }
}

/** A row as the search shows it. */
export function entryOf(row: Row): FinishedEntry {
  const at = { created: row.created, stored: row.queued, started: row.started, finished: row.finished };
  return {
    ...defined({ id: row.id, queue: row.queue, state: row.state, lane: row.lane, type: row.type, group: row.grp }),
    ...defined({ attempt: row.attempt, hop: row.hop, error: row.error, reason: row.reason, worker: row.worker }),
    at: defined(at),
    sequence: row.seq,
    discarded: row.discarded !== null,
  } as FinishedEntry;
}

/** A finished task, with the sequence of its record. */
export interface FinishedEntry {
  readonly id: string;
  readonly queue: string;
  readonly state: 'completed' | 'cancelled' | 'dead';
  readonly attempt: number;
  readonly hop: number;
  readonly at: { created?: number; stored?: number; started?: number; finished?: number };
  readonly sequence: number;
  /** Its dead letter was thrown away. */
  readonly discarded: boolean;
}

const defined = <T extends object>(value: T): Partial<T> =>
  Object.fromEntries(Object.entries(value).filter(([, field]) => field !== null && field !== undefined)) as Partial<T>;
