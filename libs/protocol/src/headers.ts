import { JetlaneError } from './errors.js';

/** Names of the headers of a task message (DESIGN: wire protocol). */
export const HEADER = {
  type: 'Task-Type',
  hop: 'Task-Hop',
  attempt: 'Task-Attempt',
  group: 'Task-Group',
  createdAt: 'Task-Created-At',
  deadline: 'Task-Deadline',
  timeout: 'Task-Timeout',
  retry: 'Task-Retry',
  reply: 'Task-Reply',
  flow: 'Task-Flow',
  errors: 'Task-Errors',
  /** Hash of the payload, on tasks whose key the caller gave: records carry it on, so that a later use of the key can be compared. */
  hash: 'Task-Hash',
  deadReason: 'Task-Dead-Reason',
  deadError: 'Task-Dead-Error',
  deadAt: 'Task-Dead-At',
  deadSource: 'Task-Dead-Source',
  deadLane: 'Task-Dead-Lane',
  fingerprint: 'Task-Fingerprint',
  contentType: 'Content-Type',
  traceparent: 'traceparent',
  tracestate: 'tracestate',
  msgId: 'Nats-Msg-Id',
  ttl: 'Nats-TTL',
  expectedSubjectSequence: 'Nats-Expected-Last-Subject-Sequence',
  schedule: 'Nats-Schedule',
  scheduleTarget: 'Nats-Schedule-Target',
  batchId: 'Nats-Batch-Id',
} as const;

/** The content type of a payload whose message has no `Content-Type`. */
export const JSON_CONTENT_TYPE = 'application/json';

/** A header of a NATS message: name and value. The order is kept; names are case-sensitive. */
export type HeaderPair = readonly [name: string, value: string];

/** What the headers of a task message say. */
export interface TaskHeaders {
  readonly type?: string;
  /** Counts publications of the task from 1; of two copies the higher hop is the truth. */
  readonly hop: number;
  /** Counts handler runs from 1. */
  readonly attempt: number;
  readonly group?: string;
  /** Milliseconds since 1970, by the producer's clock. */
  readonly createdAt?: number;
  readonly deadline?: number;
  readonly timeout?: number;
  readonly retry?: string;
  readonly reply?: string;
  readonly flow?: string;
  readonly errors?: string;
  readonly hash?: string;
  readonly contentType?: string;
  readonly traceparent?: string;
  readonly tracestate?: string;
}

const STATUS_LINE = 'NATS/1.0\r\n';

/** Text of a header block. Values must not contain CR or LF (see {@link assertHeaderValue}). */
export function headerText(pairs: readonly HeaderPair[]): string {
  let text = STATUS_LINE;
  for (const [name, value] of pairs) text += `${name}: ${value}\r\n`;
  return `${text}\r\n`;
}

/** Bytes of a header block. */
export function encodeHeaders(pairs: readonly HeaderPair[]): Uint8Array {
  return Buffer.from(headerText(pairs));
}

/** Throws `invalid-headers` for a value that would break the header block. */
export function assertHeaderValue(name: string, value: string): void {
  if (/[\r\n]/.test(value)) {
    throw new JetlaneError('invalid-headers', `header ${name} must not contain a line break`, { details: { header: name } });
  }
}

/** All headers of a block, in order. The status line and broken lines are passed over. */
export function decodeHeaders(block: string): HeaderPair[] {
  const pairs: HeaderPair[] = [];
  let start = block.indexOf('\r\n') + 2;
  while (start > 1) {
    const end = block.indexOf('\r\n', start);
    if (end <= start) break;
    const colon = block.indexOf(':', start);
    if (colon > start && colon < end) pairs.push([block.slice(start, colon), block.slice(colon + 1, end).trim()]);
    start = end + 2;
  }
  return pairs;
}

/** Drops every header that the server gave or would act on: they must not travel with a re-publication. */
export function stripServerHeaders(pairs: readonly HeaderPair[]): HeaderPair[] {
  return pairs.filter(([name]) => !/^nats-/i.test(name));
}

/** The pairs with some names set anew or, with `undefined`, removed. Order: what stays, then what is set. */
export function withHeaders(pairs: readonly HeaderPair[], changes: Readonly<Record<string, string | number | undefined>>): HeaderPair[] {
  const kept = pairs.filter(([name]) => !Object.hasOwn(changes, name));
  for (const [name, value] of Object.entries(changes)) {
    if (value !== undefined) kept.push([name, String(value)]);
  }
  return kept;
}

/** The trace that a task belongs to, as its headers carry it (W3C Trace Context). */
export function traceOf(headers: readonly HeaderPair[]): { readonly traceparent?: string; readonly tracestate?: string } {
  const traceparent = headerValue(headers, HEADER.traceparent);
  const tracestate = headerValue(headers, HEADER.tracestate);
  return { ...(traceparent ? { traceparent } : {}), ...(tracestate ? { tracestate } : {}) };
}

/**
 * Last value of a header, or `undefined`. The last one counts, here as in {@link parseTaskHeaders}: the server puts its own
 * headers behind those of the message, so that a producer cannot pass off a `Nats-Sequence` or `Nats-Subject` as the server's.
 */
export function headerValue(pairs: readonly HeaderPair[], name: string): string | undefined {
  for (let i = pairs.length - 1; i >= 0; i--) if (pairs[i]![0] === name) return pairs[i]![1];
  return undefined;
}

/** Headers of a message without any. */
export const NO_TASK_HEADERS: TaskHeaders = { hop: 1, attempt: 1 };

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * Reads the task headers of a header block. Runs once per delivery, so it looks at each line once and keeps what it knows.
 * @throws JetlaneError `invalid-headers` naming the header that is no whole number in its range
 */
export function parseTaskHeaders(block: string): TaskHeaders {
  const headers: Mutable<TaskHeaders> = { hop: 1, attempt: 1 };
  let start = block.indexOf('\r\n') + 2;
  while (start > 1) {
    const end = block.indexOf('\r\n', start);
    if (end <= start) break;
    // Every line of a task's own begins otherwise; the server's and the message id are not even cut out.
    if (!block.startsWith('Nats-', start)) {
      const colon = block.indexOf(':', start);
      if (colon > start && colon < end) readLine(headers, block.slice(start, colon), valueBetween(block, colon + 1, end));
    }
    start = end + 2;
  }
  return headers;
}

/** The text between two places, without the white space around it; usually that is one blank in front. */
function valueBetween(block: string, from: number, to: number): string {
  const plain = block.charCodeAt(from) === 32 && block.charCodeAt(from + 1) > 32 && block.charCodeAt(to - 1) > 32 && to - from > 1;
  return plain ? block.slice(from + 1, to) : block.slice(from, to).trim();
}

function readLine(headers: Mutable<TaskHeaders>, name: string, value: string): void {
  switch (name) {
    case HEADER.type:
      headers.type = value;
      break;
    case HEADER.traceparent:
      headers.traceparent = value;
      break;
    case HEADER.group:
      headers.group = value;
      break;
    case HEADER.retry:
      headers.retry = value;
      break;
    case HEADER.reply:
      headers.reply = value;
      break;
    case HEADER.flow:
      headers.flow = value;
      break;
    case HEADER.errors:
      headers.errors = value;
      break;
    case HEADER.hash:
      headers.hash = value;
      break;
    case HEADER.contentType:
      headers.contentType = value;
      break;
    case HEADER.tracestate:
      headers.tracestate = value;
      break;
    case HEADER.createdAt:
      headers.createdAt = wholeNumber(name, value, 0);
      break;
    case HEADER.hop:
      headers.hop = wholeNumber(name, value, 1, MOST_HOPS);
      break;
    case HEADER.attempt:
      headers.attempt = wholeNumber(name, value, 1, MOST_HOPS);
      break;
    case HEADER.deadline:
      headers.deadline = wholeNumber(name, value, 0);
      break;
    case HEADER.timeout:
      headers.timeout = wholeNumber(name, value, 1);
      break;
    default:
      break;
  }
}

/** A stranger's hop must leave room for those to come. */
const MOST_HOPS = 1_000_000_000;

function wholeNumber(name: string, text: string, least: number, most = Number.MAX_SAFE_INTEGER): number {
  const value = Number(text);
  if (text === '' || !Number.isSafeInteger(value) || value < least || value > most) {
    throw new JetlaneError(
      'invalid-headers',
      `header ${name} must be a whole number from ${least} to ${most}, got ${JSON.stringify(text.slice(0, 60))}`,
      { details: { header: name } },
    );
  }
  return value;
}

/** Message id of one hop of a task: what the server's duplicate window and the redelivery check go by. */
export const hopId = (key: string, hop: number): string => `${key}#${hop}`;
