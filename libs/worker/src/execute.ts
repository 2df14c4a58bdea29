import { closest, FatalError, JetlaneError, parseTaskHeaders } from '@jetlane/protocol';
import { classifyError, type Outcome } from './classify.js';
import type { CompiledHandler, SingleHandler } from './handler-options.js';
import { type HeldTask, HeldTaskContext, type RunListener } from './held-task.js';
import type { CompiledOptions } from './options.js';

/** Reads headers and type into the task. @throws JetlaneError `invalid-headers`, `no-type` */
function decodeTask(task: HeldTask, options: CompiledOptions): void {
  const block = task.delivery.headers;
  if (block) task.headers = parseTaskHeaders(block);
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

/** @returns the error of a task whose type nobody handles here */
export function noHandler(task: HeldTask, options: CompiledOptions): JetlaneError {
  const nearest = closest(task.type, options.handlers.keys());
  const hint = nearest ? `did you mean "${nearest}"?` : `this worker handles: ${[...options.handlers.keys()].join(', ') || 'nothing'}`;
  return new JetlaneError('no-handler', `no handler for task type "${task.type}" in queue "${task.queue}"; ${hint}`, {
    details: { type: task.type, queue: task.queue },
  });
}

/** Reads the payload; only the producer knows whether it fits the handler's type. @throws JetlaneError `undecodable-payload` */
export function payloadOf(task: HeldTask): unknown {
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

/** Whom runs tell of their end; only the first call for a task counts. */
export interface EndListener extends RunListener {
  ended(task: HeldTask, outcome: Outcome): void;
}

/**
 * Runs the handler and tells the outcome when it ends, or a grace after its signal fired: a handler that ignores its
 * signal cannot hold a slot for ever.
 */
export function runHandler(task: HeldTask, handler: SingleHandler, listener: EndListener): void {
  const failed = (error: unknown) => listener.ended(task, outcomeOf(task, handler, error));
  const stopTimer =
    handler.timeoutMs === undefined && task.headers.timeout === undefined ? undefined : startTimeout(task, handler.timeoutMs);
  task.giveUp = failed;
  try {
    const returned = handler.handle(payloadOf(task) as never, new HeldTaskContext(task, listener));
    const promise = promiseOf(returned);
    if (promise) {
      promise.then((result) => listener.ended(task, { kind: 'completed', result }), failed);
      if (stopTimer) promise.then(stopTimer, stopTimer);
      return;
    }
    listener.ended(task, { kind: 'completed', result: returned });
  } catch (error) {
    failed(error);
  }
  stopTimer?.();
}

/** The outcome of a run that threw. */
export function outcomeOf(task: HeldTask, { retry }: CompiledHandler, error: unknown): Outcome {
  const { attempt, retry: retryHeader } = task.headers;
  return classifyError(error, { attempt, policy: retry, retryHeader, aborted: task.aborted });
}

/** What a handler returned, if it has to be awaited: a promise, also of another realm, or a lazy one such as a query builder. */
export function promiseOf(returned: unknown): Promise<unknown> | undefined {
  if (returned instanceof Promise) return returned;
  if (typeof returned !== 'object' || returned === null) return undefined;
  return typeof (returned as { then?: unknown }).then === 'function' ? Promise.resolve(returned) : undefined;
}

/** A task's own timeout may only be shorter than the handler's. */
export function startTimeout(task: HeldTask, handlerMs = Number.POSITIVE_INFINITY): () => void {
  const ms = Math.min(handlerMs, task.headers.timeout ?? Number.POSITIVE_INFINITY, LONGEST_TIMER_MS);
  task.note().timeoutMs = ms;
  const timer = setTimeout(() => task.abort(timeoutError(task, ms)), ms);
  return () => clearTimeout(timer);
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;

const timeoutError = (task: HeldTask, ms: number): JetlaneError =>
  new JetlaneError('timeout', `task "${task.id}" ran longer than ${ms} ms`);
