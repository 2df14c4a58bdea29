import { briefHistory, JetlaneError, keptPayload, type TaskState } from '@jetlane/protocol';
import type { Outcome } from './classify.js';
import type { HeldTask } from './held-task.js';

/** Longest JSON of a record with its result, in bytes. */
export const RESULT_LIMIT = 256 * 1024;

/** An outcome that ends a task for good. */
export type FinalOutcome = Outcome & { readonly kind: 'completed' | 'dead' | 'cancelled' };

/**
 * The state record of a finished task as JSON.
 * @param keepPayload with what the task carried, but for a dead one: its dead letter has it
 * @throws what a result's `toJSON` throws
 */
export function recordText(task: HeldTask, outcome: FinalOutcome, worker: string, keepPayload = false): string {
  switch (outcome.kind) {
    case 'completed':
      return JSON.stringify({
        ...recordOf(task, 'completed', worker),
        result: outcome.result,
        payload: keepPayload ? payloadOf(task) : undefined,
      });
    case 'dead':
      return JSON.stringify({ ...recordOf(task, 'dead', worker), reason: outcome.reason, error: outcome.error });
    case 'cancelled':
      return JSON.stringify({
        ...recordOf(task, 'cancelled', worker),
        reason: outcome.reason,
        payload: keepPayload ? payloadOf(task) : undefined,
      });
  }
}

const payloadOf = ({ delivery, headers }: HeldTask) => keptPayload(delivery.data, headers.contentType);

function recordOf(task: HeldTask, state: TaskState, worker: string) {
  const { headers, notes } = task;
  return {
    id: task.id,
    hop: headers.hop,
    lane: task.lane,
    type: task.type || undefined,
    group: headers.group,
    state,
    attempt: headers.attempt,
    at: task.times(),
    progress: notes?.progress,
    log: notes?.log,
    worker,
    trace: task.span?.traceId,
    hash: headers.hash,
    history: briefHistory(headers.errors),
  };
}

/**
 * The record of a completed task, written as text: this is the one object that every task serializes, and building and
 * walking it cost twice as much as its result. What a stranger may have chosen is quoted by JSON.
 */
export function encodeCompleted(task: HeldTask, workerSuffix: string, result: unknown, keepPayload = false): string | JetlaneError {
  try {
    const { headers, delivery } = task;
    const trace = task.span?.traceId;
    const created = headers.createdAt === undefined ? '' : `"created":${millis(headers.createdAt)},`;
    const rare =
      headers.group === undefined && headers.hash === undefined && headers.errors === undefined && task.notes === undefined
        ? ''
        : rareFields(task);
    const payload = keepPayload ? optional('payload', payloadOf(task)) : '';
    const body = `{"id":${quoted(task.id)},"hop":${headers.hop},"lane":"${task.lane}","type":${quoted(task.type)},${rare}"state":"completed","attempt":${headers.attempt},"at":{${created}"stored":${millis(delivery.storedAt)},"fetched":${millis(task.fetchedAt)},"started":${millis(task.startedAt)},"finished":${millis(task.finishedAt)}},${optional('result', result)}${payload}${workerSuffix}${trace ? `,"trace":"${trace}"}` : '}'}`;
    if (body.length * 3 <= RESULT_LIMIT || Buffer.byteLength(body) - Buffer.byteLength(payload) <= RESULT_LIMIT) return body;
    return new JetlaneError(
      'result-too-large',
      `the result of task "${task.id}" makes a record of ${Buffer.byteLength(body)} bytes, more than ${RESULT_LIMIT}; store it elsewhere and return a reference`,
    );
  } catch (cause) {
    return new JetlaneError('result-too-large', `the result of task "${task.id}" cannot be written as JSON: ${(cause as Error).message}`, {
      cause,
    });
  }
}

function rareFields({ headers, notes }: HeldTask): string {
  return `${optional('group', headers.group)}${optional('hash', headers.hash)}${optional('progress', notes?.progress)}${optional('log', notes?.log)}${optional('history', briefHistory(headers.errors))}`;
}

const lastMillis = [0, 0, 0, 0, 0, 0, 0, 0];
const lastTexts = ['0', '0', '0', '0', '0', '0', '0', '0'];

/** A time as text. Tasks of one turn share most of their times, and making the text of a number cost as much as a write. */
function millis(ms: number): string {
  const place = ms & 7;
  if (lastMillis[place] === ms) return lastTexts[place]!;
  lastMillis[place] = ms;
  lastTexts[place] = String(ms);
  return lastTexts[place];
}

/** A JSON string; ids and types of the usual form need no escaping. */
function quoted(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 32 || code > 126 || code === 34 || code === 92) return JSON.stringify(text);
  }
  return `"${text}"`;
}

/** `"name":<json>,` or nothing for what JSON leaves out. */
function optional(name: string, value: unknown): string {
  const json = value === undefined ? undefined : JSON.stringify(value);
  return json === undefined ? '' : `"${name}":${json},`;
}
