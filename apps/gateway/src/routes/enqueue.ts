import type { NewTask, Receipt } from '@jetlane/client';
import { type EnqueueRequest, enqueueRequestSchema, isFinal, JetlaneError, toMs } from '@jetlane/protocol';
import type { TraceHeaders } from '@jetlane/telemetry';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { assertQueue } from '../access/caller.js';
import { traceOfRequest } from '../http/trace.js';
import { assertDepth, validate } from '../http/validate.js';
import { idempotencyHeaders, idempotencyKey } from './idempotency-key.js';
import { type ApiRoute, assertConnected, type Gateway } from './route.js';
import { outcomeSchema, receiptSchema, receiptView, taskView } from './task-view.js';

/** Longest wait for an outcome; a longer one is cut to it. */
const MAX_WAIT_MS = 60_000;

const wait = z
  .string()
  .optional()
  .transform((value, context): number => {
    if (value === undefined) return 0;
    const ms = readWait(value);
    if (ms !== undefined) return Math.min(ms, MAX_WAIT_MS);
    context.addIssue({ code: 'custom', message: 'expected seconds or a duration such as "5s"' });
    return z.NEVER;
  })
  .describe(
    'Answer with the outcome, if there is one within this time: seconds, or a duration such as "5s". At most 60s; a longer wait is cut to that.',
  );

export const waitQuery = z.strictObject({ wait });

function readWait(value: string): number | undefined {
  try {
    return /^\d+(\.\d+)?$/.test(value) ? Number(value) * 1000 : toMs(value, 'wait');
  } catch {
    return undefined;
  }
}

/** A checked request as the client takes it. @param trace of the span that the task's own is to be a child of */
export function newTask(task: EnqueueRequest, { traceparent, tracestate }: TraceHeaders = {}): NewTask {
  return {
    type: task.task_type,
    data: task.task_data,
    lane: task.priority,
    delay: task.delay || undefined,
    key: task.task_id,
    traceparent,
    tracestate,
  };
}

/** Checks the body of an enqueue. @throws JetlaneError `invalid-argument` */
export function readTask(body: unknown): EnqueueRequest {
  const task = validate(enqueueRequestSchema, body, 'body');
  assertDepth(task.task_data, 'task_data');
  return task;
}

/** Stores a task and answers: at once with a receipt, or with `?wait=` with the outcome. */
export async function answerEnqueue(
  gateway: Gateway,
  task: EnqueueRequest,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  assertQueue(request.caller, task.queue_name);
  assertConnected(gateway);
  const waitMs = request.url.includes('?') ? validate(waitQuery, request.query, 'query').wait : 0;
  const task_id = idempotencyKey(request, task.task_id);
  const receipt = await gateway.client.enqueue(task.queue_name, newTask({ ...task, task_id }, traceOfRequest(request)));
  gateway.counter.stored(receipt);
  if (waitMs > 0) {
    const outcome = await awaitOutcome(gateway, receipt, waitMs, reply);
    if (outcome) return outcome;
  }
  reply.code(202);
  return receiptView(receipt);
}

async function awaitOutcome({ client }: Gateway, receipt: Receipt, timeout: number, reply: FastifyReply): Promise<unknown> {
  const gone = new AbortController();
  const onClose = () => gone.abort();
  reply.raw.once('close', onClose);
  try {
    const status = await client.result(receipt.id, { timeout, signal: gone.signal });
    return isFinal(status.state) ? { ...taskView(status), duplicate: receipt.duplicate } : undefined;
  } catch (error) {
    // The task is stored: whatever became of the waiting, the caller gets its receipt.
    if (gone.signal.aborted || (error instanceof JetlaneError && error.retryable)) return undefined;
    throw error;
  } finally {
    reply.raw.off('close', onClose);
  }
}

export const ENQUEUE_ANSWERS: ApiRoute['answers'] = {
  200: [{ description: 'With `?wait=`: the task is finished.', schema: outcomeSchema }],
  202: [{ description: 'The task is stored.', schema: receiptSchema }],
};

export const ENQUEUE_PROBLEMS: ApiRoute['problems'] = [
  'invalid-argument',
  'invalid-json',
  'unknown-queue',
  'idempotency-conflict',
  'payload-too-large',
  'unsupported-media-type',
  'no-type',
  'queue-full',
  'publisher-overloaded',
  'publish-timeout',
  'no-responders',
  'not-connected',
  'connection-closed',
  'request-timeout',
  'publish-refused',
];

/** `POST /api/queue/enqueue`: the hot path. */
export function enqueueRoute(gateway: Gateway): ApiRoute {
  return {
    method: 'POST',
    path: '/api/queue/enqueue',
    operationId: 'enqueue',
    scope: 'produce',
    tag: 'tasks',
    summary: 'Enqueue a task',
    description:
      'Answers when the task is durably stored. `task_id`, or the header `Idempotency-Key`, is an idempotency key: the same request twice gives the first task with `duplicate: true`. A `traceparent` header is passed on to the task.',
    query: waitQuery,
    headers: idempotencyHeaders,
    body: {
      'application/json': {
        schema: enqueueRequestSchema,
        example: {
          queue_name: 'default',
          task_type: 'credit_purchase',
          task_data: { user_id: 'user-1', amount: 100 },
          priority: 'HIGH',
          delay: 0,
        },
      },
    },
    answers: ENQUEUE_ANSWERS,
    problems: ENQUEUE_PROBLEMS,
    handler: (request, reply) => answerEnqueue(gateway, readTask(request.body), request, reply),
  };
}
