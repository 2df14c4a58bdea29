import {
  DEFAULT_LANE,
  type DeadLetter,
  type DeadLetterDetail,
  type ErrorRecord,
  HEADER,
  headerValue,
  JSON_CONTENT_TYPE,
  type Names,
  parseHistory,
} from '@jetlane/protocol';
import { deadLane } from './dead-lane.js';
import type { StoredMessage } from './stored.js';
import { hopOf } from './task-store.js';

/** A stored dead letter as people see it. Whatever a stranger wrote into its headers, this reads it. */
export function viewDeadLetter(names: Names, stored: StoredMessage): DeadLetter {
  const tokens = names.tokens(stored.subject);
  const header = (name: string) => headerValue(stored.headers, name);
  const source = header(HEADER.deadSource);
  return defined({
    id: tokens.join('.'),
    sequence: stored.sequence,
    queue: tokens[0] ?? '',
    lane: deadLane(names, stored.headers) ?? DEFAULT_LANE,
    type: header(HEADER.type),
    group: header(HEADER.group),
    hop: hopOf(stored),
    attempt: count(header(HEADER.attempt)) ?? 1,
    reason: header(HEADER.deadReason) ?? 'unknown',
    error: parseError(header(HEADER.deadError)),
    history: parseHistory(header(HEADER.errors)),
    fingerprint: header(HEADER.fingerprint),
    deadAt: count(header(HEADER.deadAt)) ?? stored.storedAt,
    storedAt: stored.storedAt,
    source,
    contentType: header(HEADER.contentType) ?? JSON_CONTENT_TYPE,
    bytes: stored.data.length,
  });
}

/** Likewise with the payload. What is not the JSON that its content type says is shown as bytes. */
export function detailDeadLetter(names: Names, stored: StoredMessage): DeadLetterDetail {
  const letter = viewDeadLetter(names, stored);
  try {
    if (letter.contentType.startsWith(JSON_CONTENT_TYPE))
      return { ...letter, data: JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(stored.data)) as unknown };
  } catch {
    // Shown as bytes.
  }
  return { ...letter, base64: Buffer.from(stored.data).toString('base64') };
}

function count(text: string | undefined): number | undefined {
  const value = Number(text);
  return text && Number.isSafeInteger(value) && value > 0 ? value : undefined;
}

function parseError(text: string | undefined): ErrorRecord | undefined {
  try {
    const error = JSON.parse(text ?? 'null') as Partial<ErrorRecord> | null;
    return typeof error?.name === 'string' && typeof error.message === 'string' ? (error as ErrorRecord) : undefined;
  } catch {
    return undefined;
  }
}

function defined<T extends object>(value: { readonly [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T;
}
