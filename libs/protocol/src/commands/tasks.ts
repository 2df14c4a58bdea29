import { z } from 'zod';
import { REASON_LIMIT } from '../cancel.js';
import { LANES } from '../lanes.js';
import { defineCommand } from './command.js';
import { queueField } from './queues.js';

const service = 'queue-manager';
const task_id = z.string().max(300).describe('`<queue>.<key>`, as enqueue answered it.');
const reason = z.string().max(REASON_LIMIT).optional().describe('Why; shown with the task. Default `cancelled`.');

/** Commands about single tasks, and the tasks of a group. */
export const TASK_COMMANDS = {
  cancel: defineCommand({
    name: 'tasks.cancel',
    service,
    tag: 'tasks',
    summary: 'Cancel a task',
    description:
      'One that waits does not run any more; the handler of one that runs gets its signal. May be repeated. A body is not needed.',
    scope: 'operate',
    input: z.strictObject({ task_id, reason }),
    output: z
      .object({
        task_id: z.string(),
        result: z
          .enum(['cancelled', 'requested', 'too-late'])
          .describe(
            '`cancelled`: it will not run. `requested`: a worker may be running it and was told; `status` shows how it ends. `too-late`: it is completed or dead.',
          ),
      })
      .meta({ id: 'Cancellation' }),
    problems: ['task-not-found', 'unknown-queue', 'no-responders', 'publish-timeout', 'jetstream-api'],
    timeoutMs: 15_000,
    http: { method: 'POST', path: '/tasks/{task_id}/cancel' },
  }),
  cancelGroup: defineCommand({
    name: 'tasks.cancel-group',
    service,
    tag: 'queues',
    summary: 'Cancel the tasks of a group',
    description:
      'All that wait, are scheduled or run now; what is enqueued later runs. Reads through the whole queue, about 40,000 tasks a second. A body is not needed.',
    scope: 'operate',
    input: z.strictObject({ queue: queueField, group: z.string().min(1).max(1000), reason }),
    output: z
      .object({
        queue_name: z.string(),
        group: z.string(),
        cancelled: z.int().describe('Tasks that waited or were scheduled, and will not run.'),
        requested: z.int().describe('Tasks that a worker may be running; it was told.'),
        complete: z.boolean().describe('False: 30 s were not enough to read the whole queue; send it again.'),
      })
      .meta({ id: 'GroupCancellation' }),
    problems: ['unknown-queue', 'no-responders', 'publish-timeout', 'jetstream-api'],
    timeoutMs: 40_000,
    http: { method: 'POST', path: '/queues/{queue}/groups/{group}/cancel' },
  }),
  rerun: defineCommand({
    name: 'tasks.rerun',
    service,
    tag: 'tasks',
    summary: 'Run a finished task once more',
    description:
      'Under the same id, one hop higher, with its attempts reset. The payload is the one given here, or that of its dead letter, or what the queue kept of it (`keepPayload` of the definition); a task whose payload is gone cannot be run without one.',
    scope: 'operate',
    input: z.strictObject({
      task_id,
      data: z.json().optional().describe('Payload in place of the old one: any JSON value.'),
      base64: z.base64().optional().describe('Payload in bytes; give `contentType` too.'),
      contentType: z.string().max(256).optional(),
      lane: z.enum(LANES).optional().describe('Default: the lane it was in.'),
      hop: z.int().min(1).optional().describe('Only if the task is still at this hop; makes it harmless to repeat the call.'),
    }),
    output: z
      .object({
        task_id: z.string(),
        hop: z.int(),
        lane: z.enum(LANES),
        duplicate: z.boolean().describe('Somebody else had sent it back already.'),
      })
      .meta({ id: 'Rerun' }),
    problems: [
      'task-not-found',
      'unknown-queue',
      'task-not-finished',
      'payload-not-kept',
      'payload-too-large',
      'queue-full',
      'publish-timeout',
    ],
    timeoutMs: 15_000,
    http: { method: 'POST', path: '/tasks/{task_id}/rerun' },
  }),
} as const;
