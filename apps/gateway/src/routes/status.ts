import { z } from 'zod';
import { assertTask } from '../access/caller.js';
import { type ApiRoute, assertConnected, type Gateway } from './route.js';
import { taskSchema, taskView } from './task-view.js';

const params = z.object({ task_id: z.string().describe('`<queue>.<key>`, as enqueue answered it.') });

/** `GET /api/queue/status/{task_id}` */
export function statusRoute(gateway: Gateway): ApiRoute {
  return {
    method: 'GET',
    path: '/api/queue/status/{task_id}',
    // The router cuts named parameters off at 100 characters; a task id may have 193.
    url: '/api/queue/status/*',
    operationId: 'status',
    scope: 'read',
    tag: 'tasks',
    summary: 'Look a task up',
    description:
      'State, lane, attempt, the time of every hop, and the result or error. Finished tasks are known as long as their record is kept (24 hours by default).',
    params,
    answers: { 200: [{ description: 'The task.', schema: taskSchema }] },
    problems: ['invalid-argument', 'task-not-found', 'not-connected', 'request-timeout', 'no-responders', 'jetstream-api'],
    handler: async (request) => {
      const id = (request.params as { '*': string })['*'];
      assertTask(request.caller, id);
      assertConnected(gateway);
      return taskView(await gateway.client.status(id));
    },
  };
}
