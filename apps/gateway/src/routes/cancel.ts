import { REASON_LIMIT } from '@jetlane/protocol';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { assertQueue, assertTask } from '../access/caller.js';
import { validate } from '../http/validate.js';
import { type ApiRoute, assertConnected, type Gateway } from './route.js';

const body = z.strictObject({
  reason: z.string().max(REASON_LIMIT).optional().describe('Why; shown with the task. Default `cancelled`.'),
});
const bodies = { 'application/json': { schema: body, example: { reason: 'ordered twice' } } };

const taskAnswer = z
  .object({
    task_id: z.string(),
    result: z
      .enum(['cancelled', 'requested', 'too-late'])
      .describe(
        '`cancelled`: it will not run. `requested`: a worker may be running it and was told; `status` shows how it ends. `too-late`: it is completed or dead.',
      ),
  })
  .meta({ id: 'Cancellation' });

const groupAnswer = z
  .object({
    queue_name: z.string(),
    group: z.string(),
    cancelled: z.int().describe('Tasks that waited or were scheduled, and will not run.'),
    requested: z.int().describe('Tasks that a worker may be running; it was told.'),
    complete: z.boolean().describe('False: 30 s were not enough to read the whole queue; send it again.'),
  })
  .meta({ id: 'GroupCancellation' });

const problems = [
  'invalid-argument',
  'invalid-json',
  'unsupported-media-type',
  'unknown-queue',
  'not-connected',
  'request-timeout',
  'no-responders',
  'publish-timeout',
  'jetstream-api',
] as const;

/** `POST /api/v1/tasks/{task_id}/cancel` and `POST /api/v1/queues/{queue}/groups/{group}/cancel` */
export function cancelRoutes(gateway: Gateway): ApiRoute[] {
  return [
    {
      method: 'POST',
      path: '/api/v1/tasks/{task_id}/cancel',
      url: '/api/v1/tasks/:task_id/cancel',
      operationId: 'cancelTask',
      scope: 'operate',
      tag: 'tasks',
      summary: 'Cancel a task',
      description:
        'One that waits does not run any more; the handler of one that runs gets its signal. May be repeated. A body is not needed.',
      params: z.object({ task_id: z.string().describe('`<queue>.<key>`, as enqueue answered it.') }),
      body: bodies,
      bodyOptional: true,
      answers: { 200: [{ description: 'What came of it.', schema: taskAnswer }] },
      problems: [...problems, 'task-not-found'],
      handler: async (request) => {
        const { task_id } = request.params as { task_id: string };
        assertTask(request.caller, task_id);
        const options = readBody(request);
        assertConnected(gateway);
        return { task_id, result: await gateway.client.cancel(task_id, options) };
      },
    },
    {
      method: 'POST',
      path: '/api/v1/queues/{queue}/groups/{group}/cancel',
      url: '/api/v1/queues/:queue/groups/:group/cancel',
      operationId: 'cancelGroup',
      scope: 'operate',
      tag: 'queues',
      summary: 'Cancel the tasks of a group',
      description:
        'All that wait, are scheduled or run now; what is enqueued later runs. Reads through the whole queue, about 40,000 tasks a second. A body is not needed.',
      params: z.object({ queue: z.string(), group: z.string() }),
      body: bodies,
      bodyOptional: true,
      answers: { 200: [{ description: 'What came of it.', schema: groupAnswer }] },
      problems,
      handler: async (request) => {
        const { queue, group } = request.params as { queue: string; group: string };
        assertQueue(request.caller, queue);
        const options = readBody(request);
        assertConnected(gateway);
        return { queue_name: queue, group, ...(await gateway.client.cancelGroup(queue, group, options)) };
      },
    },
  ];
}

/** @throws JetlaneError `invalid-argument` */
function readBody(request: FastifyRequest): { reason?: string } {
  const { reason } = validate(body, request.body ?? {}, 'body');
  return reason === undefined ? {} : { reason };
}
