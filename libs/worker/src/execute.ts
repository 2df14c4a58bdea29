import { closest, FatalError, JetlaneError, parseTaskHeaders } from '@jetlane/protocol';
import { classifyError, type Outcome } from './classify.js';
import { type HeldTask, HeldTaskContext } from './held-task.js';
import type { CompiledHandler, CompiledOptions } from './options.js';

/** A task taken apart: its handler and its payload. */
export interface Prepared {
  readonly handler: CompiledHandler;
  /** The handler's own type; only the producer knows whether it fits. */
  readonly data: never;
}

/** Reads headers and type into the task. @throws JetlaneError `invalid-headers`, `no-type` */
function decodeTask(task: HeldTask, options: CompiledOptions): void {
  if (task.delivery.headers) task.headers = parseTaskHeaders(task.delivery.headers);
  const type = task.headers.type || options.defaultType;
  if (!type)
    throw new FatalError(`task "${task.id}" names no type and queue "${task.queue}" has no default type; set the header Task-Type`, {
      code: 'no-type',
    });
  task.type = type;
}

/** Headers that cannot be read are kept as an error: the task must still be settled, as a dead letter. */
export function decodeOrFail(task: HeldTask, options: CompiledOptions): void {
  try {
    decodeTask(task, options);
  } catch (error) {
    task.decodeError = error;
  }
}

/** The outcome of a task that failed before or without its handler. */
export function failureOf(task: HeldTask, error: unknown, options: CompiledOptions): Outcome {
  const policy = options.handlers.get(task.type)?.retry ?? options.retry;
  return classifyError(error, { attempt: task.headers.attempt, policy, retryHeader: task.headers.retry, aborted: task.aborted });
}

/** Finds the handler and reads the payload. @throws JetlaneError `no-handler`, `undecodable-payload` */
export function prepare(task: HeldTask, options: CompiledOptions): Prepared {
  const handler = options.handlers.get(task.type);
  if (!handler) throw noHandler(task, options);
  return { handler, data: payload(task) as never };
}

function noHandler(task: HeldTask, options: CompiledOptions): JetlaneError {
  const nearest = closest(task.type, options.handlers.keys());
  const hint = nearest ? `did you mean "${nearest}"?` : `this worker handles: ${[...options.handlers.keys()].join(', ') || 'nothing'}`;
  return new JetlaneError('no-handler', `no handler for task type "${task.type}" in queue "${task.queue}"; ${hint}`, {
    details: { type: task.type, queue: task.queue },
  });
}

function payload(task: HeldTask): unknown {
  const { contentType } = task.headers;
  const { delivery } = task;
  // A copy: the payload must go to the next attempt, or into the dead letter, as it came.
  if (contentType && !JSON_TYPE.test(contentType)) return new Uint8Array(delivery.data);
  if (delivery.size === 0) return undefined;
  try {
    return JSON.parse(delivery.text());
  } catch (cause) {
    throw new FatalError(`the payload of task "${task.id}" is not valid JSON; set Content-Type if it is something else`, {
      code: 'undecodable-payload',
      cause,
    });
  }
}

/** `application/json` and every `+json`, with or without parameters; not `application/jsonl`. */
const JSON_TYPE = /^(?:application\/json|[^;\s]+\+json)\s*(?:;|$)/i;

/** Told of the end of a run; only the first call for a task counts. */
export type OnEnd = (task: HeldTask, outcome: Outcome) => void;

/**
 * Runs the handler and tells the outcome when it ends, or a grace after its signal fired: a handler that ignores its
 * signal cannot hold a slot for ever.
 */
export function runHandler(task: HeldTask, { handler, data }: Prepared, ended: OnEnd): void {
  const failed = (error: unknown) => ended(task, outcomeOf(task, handler, error));
  const stopTimer =
    handler.timeoutMs === undefined && task.headers.timeout === undefined ? undefined : startTimeout(task, handler.timeoutMs);
  task.giveUp = failed;
  try {
    const returned = handler.handle(data, new HeldTaskContext(task));
    const promise = promiseOf(returned);
    if (promise) {
      promise.then((result) => ended(task, { kind: 'completed', result }), failed);
      if (stopTimer) promise.then(stopTimer, stopTimer);
      return;
    }
    ended(task, { kind: 'completed', result: returned });
  } catch (error) {
    failed(error);
  }
  stopTimer?.();
}

function outcomeOf(task: HeldTask, { retry }: CompiledHandler, error: unknown): Outcome {
  const { attempt, retry: retryHeader } = task.headers;
  return classifyError(error, { attempt, policy: retry, retryHeader, aborted: task.aborted });
}

/** What a handler returned, if it has to be awaited: a promise, also of another realm, or a lazy one such as a query builder. */
function promiseOf(returned: unknown): Promise<unknown> | undefined {
  if (returned instanceof Promise) return returned;
  if (typeof returned !== 'object' || returned === null) return undefined;
  return typeof (returned as { then?: unknown }).then === 'function' ? Promise.resolve(returned) : undefined;
}

/** A task's own timeout may only be shorter than the handler's. */
function startTimeout(task: HeldTask, handlerMs = Number.POSITIVE_INFINITY): () => void {
  const ms = Math.min(handlerMs, task.headers.timeout ?? Number.POSITIVE_INFINITY, 2 ** 31 - 1);
  const timer = setTimeout(() => task.abort(new JetlaneError('timeout', `task "${task.id}" ran longer than ${ms} ms`)), ms);
  return () => clearTimeout(timer);
}
