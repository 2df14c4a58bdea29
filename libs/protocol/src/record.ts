import type { ErrorCode } from './errors.js';
import type { Lane } from './lanes.js';

/** Every state a task can be in. `queued` and `running` are not written down; the rest are states of records, timers or dead letters. */
export const TASK_STATES = ['accepted', 'scheduled', 'blocked', 'queued', 'running', 'retrying', 'completed', 'cancelled', 'dead'] as const;
/** One of {@link TASK_STATES}. */
export type TaskState = (typeof TASK_STATES)[number];

const FINAL: ReadonlySet<TaskState> = new Set(['completed', 'cancelled', 'dead']);

/** True for a state that a task does not leave by itself. */
export const isFinal = (state: TaskState): boolean => FINAL.has(state);

/** The time of every hop on a task's way, in ms since 1970. `created` is the producer's clock, `stored` the server's, the rest the worker's. */
export interface HopTimes {
  created?: number | undefined;
  stored?: number | undefined;
  fetched?: number | undefined;
  started?: number | undefined;
  finished?: number | undefined;
  /** When the task's dead letter was thrown away: nothing can bring the task back. */
  discarded?: number | undefined;
}

/** An error as records, dead letters and problem documents carry it. */
export interface ErrorRecord {
  /** Class name of the error. */
  readonly name: string;
  readonly message: string;
  readonly code?: ErrorCode | string;
  /** Capped at {@link STACK_LIMIT} characters. */
  readonly stack?: string;
}

/** One failed attempt, in the header `Task-Errors`. */
export interface AttemptError extends ErrorRecord {
  readonly attempt: number;
  readonly at: number;
  readonly worker?: string;
  /** The last lines that the handler logged in this attempt. */
  readonly log?: readonly LogLine[];
}

/** A line that a handler logged. */
export interface LogLine {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly text: string;
}

/** What `task_states` holds for a task: the last thing that was written down about it. */
export interface StateRecord {
  readonly id: string;
  readonly hop: number;
  readonly lane?: Lane;
  readonly type?: string;
  readonly group?: string;
  readonly state: TaskState;
  readonly attempt: number;
  readonly at: HopTimes;
  readonly result?: unknown;
  readonly error?: ErrorRecord;
  readonly worker?: string;
  readonly trace?: string;
  /** Why a task is cancelled or dead. */
  readonly reason?: string;
  /** Attempts that failed before, oldest first; of a finished task whose message told them. */
  readonly history?: readonly AttemptError[];
  /** What the last run told of its progress: percent, or an object of the handler's own. */
  readonly progress?: unknown;
  /** The last lines that the last run logged. */
  readonly log?: readonly LogLine[];
  /** How many deliveries are suspected to have killed their worker. */
  readonly crashes?: number;
  /** What the task carried, where its queue keeps it (`keepPayload`): as text, or in base64 where it is none. */
  readonly payload?: KeptPayload;
  /** State `accepted`: the producer's random claim, and the hash of the payload. */
  readonly claim?: string;
  readonly hash?: string;
}

/** A payload as a record keeps it. */
export interface KeptPayload {
  readonly text?: string;
  readonly base64?: string;
  readonly contentType?: string;
}

/** Largest payload that a record keeps, in bytes. */
export const KEPT_PAYLOAD_LIMIT = 65_536;

const exact = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A payload for a record; undefined when it is too large. */
export function keptPayload(data: Uint8Array, contentType: string | undefined): KeptPayload | undefined {
  if (data.length > KEPT_PAYLOAD_LIMIT) return undefined;
  const type = contentType === undefined ? {} : { contentType };
  try {
    return { text: exact.decode(data), ...type };
  } catch {
    return { base64: Buffer.from(data).toString('base64'), ...type };
  }
}

/** Longest stack kept of an error, in characters. */
export const STACK_LIMIT = 2000;
/** Longest message kept of an error, in characters. */
export const MESSAGE_LIMIT = 1000;
/** Longest name, code or worker kept of an error, in characters. */
const NAME_LIMIT = 200;
/** Longest log kept of one attempt in the history, in characters: beside it name, message and stack must fit. */
const HISTORY_LOG_LIMIT = 1500;
/** Longest attempt history kept in `Task-Errors`, in characters of JSON. */
export const HISTORY_LIMIT = 6000;
/** Most attempts kept in it: as many as a retry policy may have. What a producer wrote there is cut before it is worked on. */
const HISTORY_ENTRIES = 100;

/** Any thrown value as a record. Never throws itself, whatever was thrown. */
export function toErrorRecord(error: unknown): ErrorRecord {
  if (!(error instanceof Error)) return { name: 'Error', message: cap(textOf(error), MESSAGE_LIMIT) };
  const code = (error as { code?: unknown }).code;
  return {
    name: cap(textOf(error.name), NAME_LIMIT),
    message: cap(textOf(error.message), MESSAGE_LIMIT),
    ...(typeof code === 'string' ? { code: cap(code, NAME_LIMIT) } : {}),
    ...(typeof error.stack === 'string' ? { stack: cap(error.stack, STACK_LIMIT) } : {}),
  };
}

/** An object without a prototype, or with a `toString` that throws, has no text. */
function textOf(value: unknown): string {
  try {
    return String(value);
  } catch {
    return 'a value without text was thrown';
  }
}

const cap = (text: string, limit: number): string => (text.length > limit ? `${text.slice(0, limit - 1)}…` : text);

/** The last lines of a log that together have at most so many characters. */
export function lastLines(log: readonly LogLine[], limit: number): readonly LogLine[] {
  let from = log.length;
  for (let left = limit; from > 0 && log[from - 1]!.text.length <= left; from--) left -= log[from - 1]!.text.length;
  return log.slice(from);
}

/**
 * Adds an attempt to the history of `Task-Errors` (JSON, ASCII only, one line, at most {@link HISTORY_LIMIT} characters);
 * the oldest logs, then the oldest stacks, then the oldest attempts, then the end of the last message give way.
 */
export function appendHistory(history: string | undefined, entry: AttemptError): string {
  const last = entry.log ? { ...entry, log: lastLines(entry.log, HISTORY_LOG_LIMIT) } : entry;
  const list = [...parseHistory(history).slice(1 - HISTORY_ENTRIES), last];
  for (let i = 0; i < list.length && asciiJson(list).length > HISTORY_LIMIT; i++) list[i] = { ...list[i]!, log: undefined };
  for (let i = 0; i < list.length && asciiJson(list).length > HISTORY_LIMIT; i++) list[i] = { ...list[i]!, stack: undefined };
  while (list.length > 1 && asciiJson(list).length > HISTORY_LIMIT) list.shift();
  const text = asciiJson(list);
  return text.length > HISTORY_LIMIT ? asciiJson([shorten(list[0]!)]) : text;
}

/** A character beyond ASCII takes six in a header, so a message within its own limit may still be too long for one. */
function shorten({ attempt, at, name, message, code, worker }: AttemptError): AttemptError {
  return {
    attempt,
    at,
    name: cap(name, NAME_LIMIT / 4),
    message: cap(message, MESSAGE_LIMIT / 2),
    ...(code === undefined ? {} : { code: cap(code, NAME_LIMIT / 4) }),
    ...(worker === undefined ? {} : { worker: cap(worker, NAME_LIMIT / 4) }),
  };
}

/** The attempts in a `Task-Errors` header; an unreadable one counts as empty, and what is no attempt is left out. */
export function parseHistory(history: string | undefined): AttemptError[] {
  if (!history) return [];
  try {
    const list: unknown = JSON.parse(history);
    return Array.isArray(list) ? list.filter(isAttempt) : [];
  } catch {
    return [];
  }
}

/** The attempts without their stacks, for records; undefined when there is no history. */
export function briefHistory(history: string | undefined): AttemptError[] | undefined {
  return history === undefined ? undefined : parseHistory(history).map(({ stack: _stack, ...attempt }) => attempt);
}

function isAttempt(value: unknown): value is AttemptError {
  if (typeof value !== 'object' || value === null) return false;
  const { attempt, at, name, message, worker, code, log } = value as Partial<AttemptError>;
  const optional = [worker, code].every((text) => text === undefined || typeof text === 'string');
  if (log !== undefined && !(Array.isArray(log) && log.every(isLogLine))) return false;
  return typeof attempt === 'number' && typeof at === 'number' && typeof name === 'string' && typeof message === 'string' && optional;
}

function isLogLine(value: unknown): value is LogLine {
  return (
    typeof value === 'object' && value !== null && typeof (value as LogLine).at === 'number' && typeof (value as LogLine).text === 'string'
  );
}

/** JSON that can stand in a header: no character beyond ASCII, no line break. */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Numbers, UUIDs, hexadecimal digests, and long words with a digit in them, as keys are. */
const VARIABLE = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[\w-]{20,}|[0-9a-f]{8,}|\d+/gi;
const blank = (word: string): string => (/\d/.test(word) ? '#' : word);

/** A short fingerprint of a failure: the same type, error class and message shape (numbers and ids blanked) give the same one. */
export function fingerprint(type: string | undefined, error: ErrorRecord | undefined): string {
  const shape = (error?.message ?? '').slice(0, MESSAGE_LIMIT).replace(VARIABLE, blank).slice(0, 200);
  let hash = 0x811c9dc5;
  for (const char of `${type ?? ''}|${error?.name ?? ''}|${shape}`) hash = Math.imul(hash ^ char.codePointAt(0)!, 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, '0');
}

const decoder = new TextDecoder('utf-8', { fatal: true });

/** Reads a state record; `undefined` when it is none (a stranger wrote to the subject). */
export function decodeRecord(body: Uint8Array): StateRecord | undefined {
  try {
    const record: unknown = JSON.parse(decoder.decode(body));
    return isRecord(record) ? record : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is StateRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { id, hop, state, attempt, at } = value as Partial<StateRecord>;
  if (typeof id !== 'string' || typeof hop !== 'number' || typeof attempt !== 'number') return false;
  return typeof at === 'object' && at !== null && TASK_STATES.includes(state as TaskState);
}
