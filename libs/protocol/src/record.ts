import type { ErrorCode } from './errors.js';
import type { Lane } from './lanes.js';

/** Every state a task can be in. `queued` and `running` are not written down; the rest are states of records, timers or dead letters. */
export const TASK_STATES = ['accepted', 'scheduled', 'blocked', 'queued', 'running', 'retrying', 'completed', 'cancelled', 'dead'] as const;
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
  /** How many deliveries are suspected to have killed their worker. */
  readonly crashes?: number;
  /** State `accepted`: the producer's random claim, and the hash of the payload. */
  readonly claim?: string;
  readonly hash?: string;
}

/** Longest stack kept of an error, in characters. */
export const STACK_LIMIT = 2000;
/** Longest message kept of an error, in characters. */
export const MESSAGE_LIMIT = 1000;
/** Longest attempt history kept in `Task-Errors`, in characters of JSON. */
export const HISTORY_LIMIT = 6000;

/** Any thrown value as a record. */
export function toErrorRecord(error: unknown): ErrorRecord {
  if (!(error instanceof Error)) return { name: 'Error', message: cap(String(error), MESSAGE_LIMIT) };
  const code = (error as { code?: unknown }).code;
  return {
    name: error.name,
    message: cap(error.message, MESSAGE_LIMIT),
    ...(typeof code === 'string' ? { code } : {}),
    ...(error.stack ? { stack: cap(error.stack, STACK_LIMIT) } : {}),
  };
}

const cap = (text: string, limit: number): string => (text.length > limit ? `${text.slice(0, limit - 1)}…` : text);

/** Adds an attempt to the history of `Task-Errors` (JSON, ASCII only, one line); the oldest stacks, then the oldest attempts give way. */
export function appendHistory(history: string | undefined, entry: AttemptError): string {
  const list = [...parseHistory(history), entry];
  for (const older of [true, false]) {
    for (let i = 0; i < list.length - (older ? 1 : 0) && asciiJson(list).length > HISTORY_LIMIT; i++) list[i] = { ...list[i]!, stack: undefined };
  }
  while (list.length > 1 && asciiJson(list).length > HISTORY_LIMIT) list.shift();
  return asciiJson(list);
}

/** The attempts in a `Task-Errors` header; an unreadable one counts as empty. */
export function parseHistory(history: string | undefined): AttemptError[] {
  if (!history) return [];
  try {
    const list: unknown = JSON.parse(history);
    return Array.isArray(list) ? (list as AttemptError[]) : [];
  } catch {
    return [];
  }
}

/** JSON that can stand in a header: no character beyond ASCII, no line break. */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** A short fingerprint of a failure: the same type, error class and message shape (numbers and ids blanked) give the same one. */
export function fingerprint(type: string | undefined, error: ErrorRecord | undefined): string {
  const shape = (error?.message ?? '').replace(/[0-9a-f]{8,}|\d+/gi, '#').slice(0, 200);
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
  const { id, hop, state } = value as Partial<StateRecord>;
  return typeof id === 'string' && typeof hop === 'number' && TASK_STATES.includes(state as TaskState);
}
