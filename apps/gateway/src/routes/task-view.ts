import type { Receipt, TaskStatus } from '@jetlane/client';
import { type AttemptError, type ErrorRecord, LANES, TASK_STATES } from '@jetlane/protocol';
import { z } from 'zod';

const ms = z.number().describe('Milliseconds since 1970.');
const lane = z.enum(LANES);
const state = z.enum(TASK_STATES);
const log = z.array(z.object({ at: ms, text: z.string() })).optional();
const taskError = z.object({ name: z.string(), message: z.string(), code: z.string().optional() });

export const receiptSchema = z
  .object({
    task_id: z.string().describe('The public id: `<queue>.<key>`.'),
    queue_name: z.string(),
    state,
    duplicate: z.boolean().describe('The task_id was used before: this is the first task, and nothing was stored now.'),
  })
  .meta({ id: 'Receipt' });

export const taskSchema = z
  .object({
    task_id: z.string(),
    queue_name: z.string(),
    task_type: z.string().optional(),
    lane: lane.optional(),
    group: z.string().optional(),
    state,
    attempt: z.int().describe('Counts runs of the handler, from 1.'),
    hop: z.int().describe('Counts publications of the task, from 1.'),
    at: z
      .object({ created: ms, stored: ms, fetched: ms, started: ms, finished: ms, scheduled_for: ms, discarded: ms })
      .partial()
      .describe("When each hop was reached. `created` is the producer's clock, `stored` the server's, the rest the worker's."),
    result: z.unknown().optional().describe('What the handler returned.'),
    error: taskError.optional(),
    reason: z.string().optional().describe('Why a task is cancelled or dead.'),
    worker: z.string().optional(),
    trace_id: z.string().optional(),
    progress: z.unknown().optional().describe('What the handler told last: percent, or an object of its own.'),
    log: z
      .array(z.object({ at: ms, text: z.string() }))
      .optional()
      .describe('The last lines that the last run logged.'),
    history: z
      .array(taskError.extend({ attempt: z.int(), at: ms, worker: z.string().optional(), log }))
      .describe('Failed attempts, oldest first.'),
  })
  .meta({ id: 'Task' });

export const outcomeSchema = taskSchema.extend({ duplicate: z.boolean() }).meta({ id: 'Outcome' });

export type ReceiptView = z.output<typeof receiptSchema>;
export type TaskView = z.output<typeof taskSchema>;

export function receiptView({ id, queue, state, duplicate }: Receipt): ReceiptView {
  return { task_id: id, queue_name: queue, state, duplicate };
}

/** A task as the API shows it. Stacks of handlers stay inside. */
export function taskView(task: TaskStatus): TaskView {
  const { scheduledFor, ...hops } = task.at;
  return {
    task_id: task.id,
    queue_name: task.queue,
    task_type: task.type,
    lane: task.lane,
    group: task.group,
    state: task.state,
    attempt: task.attempt,
    hop: task.hop,
    at: { ...hops, scheduled_for: scheduledFor },
    ...('result' in task ? { result: task.result } : {}),
    error: task.error && errorView(task.error),
    reason: task.reason,
    worker: task.worker,
    trace_id: task.trace,
    ...('progress' in task ? { progress: task.progress } : {}),
    log: task.log && [...task.log],
    history: task.history.map((entry) => ({ ...errorView(entry), ...attemptView(entry) })),
  };
}

function attemptView({ attempt, at, worker, log }: AttemptError) {
  return { attempt, at, worker, log: log && [...log] };
}

function errorView({ name, message, code }: ErrorRecord): z.output<typeof taskError> {
  return { name, message, code };
}
