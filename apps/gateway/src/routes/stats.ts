import { isQueueName, JetlaneError, UnknownQueueError } from '@jetlane/protocol';
import { z } from 'zod';
import { assertQueue, mayUse } from '../access/caller.js';
import { statsSchema } from '../stats/view.js';
import { type ApiRoute, assertConnected, type Gateway } from './route.js';

const description =
  'Depth, active tasks and oldest age per lane, rates and percentiles. Depths come from the queue-manager, rates from analytics: where one of them is down, `missing` names it and its figures are null.';

const common = {
  method: 'GET',
  tag: 'queues',
  answers: { 200: [{ description: 'The figures of this moment.', schema: statsSchema }] },
} as const satisfies Partial<ApiRoute>;

/** `GET /api/queue/stats` and `GET /api/queue/stats/{queue_name}` */
export function statsRoutes(gateway: Gateway): ApiRoute[] {
  return [
    {
      ...common,
      path: '/api/queue/stats',
      operationId: 'stats',
      scope: 'read',
      summary: 'Figures of all queues',
      description,
      problems: ['not-connected', 'request-timeout', 'jetstream-api'],
      handler: async ({ caller }) => {
        assertConnected(gateway);
        const stats = await gateway.stats.read();
        return caller.queues ? { ...stats, queues: stats.queues.filter(({ queue_name }) => mayUse(caller, queue_name)) } : stats;
      },
    },
    {
      ...common,
      path: '/api/queue/stats/{queue_name}',
      url: '/api/queue/stats/:queue_name',
      operationId: 'queueStats',
      scope: 'read',
      summary: 'Figures of one queue',
      description,
      params: z.object({ queue_name: z.string() }),
      problems: ['invalid-argument', 'unknown-queue', 'not-connected', 'request-timeout', 'jetstream-api'],
      handler: async (request) => {
        const { queue_name } = request.params as { queue_name: string };
        assertQueue(request.caller, queue_name);
        return readQueue(gateway, queue_name);
      },
    },
  ];
}

async function readQueue(gateway: Gateway, queue: string): Promise<unknown> {
  if (!isQueueName(queue)) {
    throw new JetlaneError('invalid-argument', `expected a queue name, got ${JSON.stringify(queue.slice(0, 100))}`, {
      details: { field: 'queue_name' },
    });
  }
  assertConnected(gateway);
  const stats = await gateway.stats.read();
  const found = stats.queues.filter(({ queue_name }) => queue_name === queue);
  if (found.length === 0)
    throw new UnknownQueueError(queue, [...gateway.client.queueNames(), ...stats.queues.map(({ queue_name }) => queue_name)]);
  return { ...stats, queues: found };
}
