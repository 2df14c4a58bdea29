import { createHash } from 'node:crypto';
import type { Payload } from '@jetlane/jetstream';
import {
  assertHeaderValue,
  DEFAULT_LANE,
  type Duration,
  decodeHeaders,
  formatRetryHeader,
  HEADER,
  type HeaderPair,
  hopId,
  isLane,
  isTaskKey,
  isTaskType,
  JetlaneError,
  JSON_CONTENT_TYPE,
  LANE_DEFAULTS,
  LANES,
  type Lane,
  laneIn,
  type QueueDefinition,
  type RetryPolicy,
  retryPolicySchema,
  stripServerHeaders,
  type TaskState,
  toMs,
} from '@jetlane/protocol';
import type { TraceHeaders } from '@jetlane/telemetry';

/** A task to enqueue. */
export interface NewTask {
  /** Chooses the handler. May be missing where the queue has a default type. */
  readonly type?: string;
  /** The payload: any JSON value, or bytes together with `contentType`. */
  readonly data?: unknown;
  /** Priority class. Default `normal`. */
  readonly lane?: Lane;
  /** Run no earlier than this long from now. Default: at once. */
  readonly delay?: Duration;
  /** The caller's idempotency key: enqueuing the same key and payload again answers with the first task. */
  readonly key?: string;
  /** Fairness and ordering key. */
  readonly group?: string;
  /** Retry policy of this task alone, over the queue's and the handler's; it cannot raise the number of attempts. */
  readonly retry?: RetryPolicy;
  /** Longest run, at most the handler's own. */
  readonly timeout?: Duration;
  /** A task that still waits then is cancelled with reason `expired` and never runs; a date, or ms since 1970. */
  readonly deadline?: Date | number;
  /** Subject on core NATS that is told the outcome (best effort); under `_INBOX.` or the namespace's `replies.`. */
  readonly replyTo?: string;
  /** Media type of a payload in bytes. */
  readonly contentType?: string;
  /** W3C trace context of the caller; default: the active span's. */
  readonly traceparent?: string;
  readonly tracestate?: string;
}

/** What enqueue answers. */
export interface Receipt {
  /** `<queue>.<key>`. */
  readonly id: string;
  readonly queue: string;
  readonly lane: Lane;
  readonly state: TaskState;
  /** The key was used before: this is the first task's receipt. */
  readonly duplicate: boolean;
}

/** A checked task, ready for the wire. */
export interface PreparedTask {
  readonly queue: string;
  readonly key: string;
  readonly lane: Lane;
  readonly type: string | undefined;
  readonly delayMs: number;
  readonly data: Payload;
  readonly group: string | undefined;
  readonly contentType: string | undefined;
  readonly createdAt: number;
  /** Header lines of the task's own rules: retry, timeout, deadline, reply; mostly none. */
  readonly rules: string;
  /** How long a record of it is kept, ms: the queue's time, counted from when it is due. */
  readonly keepMs: number;
}

const EMPTY = new Uint8Array(0);

/** Checks a task against the rules and its queue. @throws JetlaneError `invalid-argument`, `payload-too-large` */
export function prepareTask(queue: string, task: NewTask, key: string, definition: QueueDefinition): PreparedTask {
  if (task.type === undefined ? !definition.defaultType : !isTaskType(task.type)) throw badType(queue, task.type);
  if (task.key !== undefined && !isTaskKey(task.key)) throw invalid('key', 'letters, digits, _ and -, at most 128', task.key);
  if (task.lane !== undefined && !isLane(task.lane)) throw invalid('lane', LANES.join(', '), task.lane);
  if (task.group !== undefined) assertHeaderValue(HEADER.group, task.group);
  if (task.contentType !== undefined) assertHeaderValue(HEADER.contentType, task.contentType);
  if (task.tracestate !== undefined) assertHeaderValue(HEADER.tracestate, task.tracestate);
  const data = payloadOf(task);
  const size = typeof data === 'string' ? Buffer.byteLength(data) : data.length;
  if (size > (definition.maxPayload ?? LANE_DEFAULTS.maxPayload)) throw tooLarge(size, definition);
  const delayMs = task.delay === undefined ? 0 : toMs(task.delay, 'delay');
  return {
    queue,
    key,
    lane: laneIn(definition, task.lane) ?? DEFAULT_LANE,
    type: task.type,
    delayMs,
    data,
    group: task.group,
    contentType: task.contentType,
    createdAt: Date.now(),
    rules: rulesOf(task),
    keepMs: delayMs + recordLife(definition),
  };
}

/** How long records of a queue's tasks are kept, in ms. */
export const recordLife = ({ keepRecords }: QueueDefinition): number =>
  keepRecords === undefined ? LANE_DEFAULTS.keepRecordsMs : toMs(keepRecords, 'keepRecords');

function rulesOf({ retry, timeout, deadline, replyTo }: NewTask): string {
  if (retry === undefined && timeout === undefined && deadline === undefined && replyTo === undefined) return '';
  let lines = '';
  if (retry !== undefined) {
    if (!retryPolicySchema.safeParse(retry).success) throw invalid('retry', 'a retry policy', retry);
    lines += line(HEADER.retry, formatRetryHeader(retry));
  }
  if (timeout !== undefined) lines += line(HEADER.timeout, String(Math.max(1, toMs(timeout, 'timeout'))));
  if (deadline !== undefined) lines += line(HEADER.deadline, String(timeOf(deadline)));
  if (replyTo === undefined) return lines;
  if (!REPLY.test(replyTo)) throw invalid('replyTo', 'a subject under _INBOX. or <namespace>.replies.', replyTo);
  return lines + line(HEADER.reply, replyTo);
}

/** Subjects that the worker answers to, whatever the namespace; it looks at the namespace itself. */
const REPLY = /^(_INBOX|([a-z0-9-]+\.)?replies)(\.[^\s.*>]+)+$/;

function timeOf(deadline: Date | number): number {
  const ms = Math.floor(Number(deadline));
  if (!Number.isSafeInteger(ms) || ms < 0) throw invalid('deadline', 'a date or ms since 1970', String(deadline));
  return ms;
}

function payloadOf({ data, contentType }: NewTask): Payload {
  if (data instanceof Uint8Array) {
    if (contentType === undefined) throw invalid('contentType', 'set beside a payload in bytes', contentType);
    return data;
  }
  if (data === undefined) return EMPTY;
  let json: string | undefined;
  try {
    json = JSON.stringify(data);
  } catch (cause) {
    throw new JetlaneError('invalid-argument', `the payload cannot be written as JSON: ${(cause as Error).message}`, {
      cause,
      details: { field: 'data' },
    });
  }
  if (json === undefined) throw invalid('data', 'a JSON value', typeof data);
  return json;
}

function badType(queue: string, type: string | undefined): JetlaneError {
  if (type !== undefined) return invalid('type', 'letters, digits and _ . : / -, at most 128', type);
  return new JetlaneError('invalid-argument', `the task names no type and queue "${queue}" has no default type; give one`, {
    details: { field: 'type' },
  });
}

function tooLarge(bytes: number, { name, maxPayload = LANE_DEFAULTS.maxPayload }: QueueDefinition): JetlaneError {
  const message = `the payload has ${bytes} bytes, queue "${name}" takes ${maxPayload}; send a reference instead`;
  return new JetlaneError('payload-too-large', message, { details: { bytes, maxPayload } });
}

function invalid(field: string, expected: string, got: unknown): JetlaneError {
  return new JetlaneError('invalid-argument', `expected ${field} to be ${expected}; got ${JSON.stringify(got)}`, { details: { field } });
}

/** Header block of a task's first publication into a lane. Written as text: this runs once for every task. */
export function firstHop(task: PreparedTask, trace: TraceHeaders, hash?: string): string {
  let block = `NATS/1.0\r\nNats-Msg-Id: ${hopId(task.key, 1)}\r\n`;
  if (task.type !== undefined) block += `Task-Type: ${task.type}\r\n`;
  block += `Task-Created-At: ${task.createdAt}\r\n`;
  if (task.group !== undefined) block += line(HEADER.group, task.group);
  if (task.contentType !== undefined && task.contentType !== JSON_CONTENT_TYPE) block += line(HEADER.contentType, task.contentType);
  if (hash !== undefined) block += line(HEADER.hash, hash);
  block += task.rules;
  if (trace.traceparent) block += `traceparent: ${trace.traceparent}\r\n`;
  if (trace.tracestate) block += line(HEADER.tracestate, trace.tracestate);
  return `${block}\r\n`;
}

const line = (name: string, value: string): string => `${name}: ${value}\r\n`;

/** The same for a task that goes by a timer: without the message id, which a timer cannot have. */
export const timerHeaders = (block: string): HeaderPair[] => stripServerHeaders(decodeHeaders(block));

/** What two uses of an idempotency key must agree on: type, content type and payload. */
export function payloadHash(task: PreparedTask): string {
  return createHash('sha256')
    .update(`${task.type ?? ''}\0${task.contentType ?? ''}\0`)
    .update(task.data)
    .digest('hex')
    .slice(0, 32);
}
