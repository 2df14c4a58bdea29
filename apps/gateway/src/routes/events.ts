import { Readable } from 'node:stream';
import { isQueueName, JetlaneError, parseTaskId } from '@jetlane/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { assertQueueNamed, assertTask } from '../access/caller.js';
import { eventStream } from '../events/event-stream.js';
import { validate } from '../http/validate.js';
import { type ApiRoute, assertConnected, type Gateway } from './route.js';

/** Streams that one gateway serves at a time: each asks for news up to four times a second. */
export const MOST_STREAMS = 500;

const SUBJECTS = ['tasks', 'queues'] as const;

const query = z.strictObject({
  queue: z.string().refine(isQueueName, 'expected a queue name').optional().describe('Only this queue and its tasks.'),
  task: z.string().max(200).optional().describe('Only this task, by its id; also its progress. No figures of queues.'),
  about: z
    .string()
    .transform((text) => text.split(','))
    .pipe(z.array(z.enum(SUBJECTS)).min(1))
    .optional()
    .describe('`tasks`, `queues`, or both (the default).'),
});

const description = `Server-sent events:

- \`task\`: a record of a task was written: it is finished, cancelled or dead, or was accepted under an idempotency key. The data is a \`TaskEntry\`, the id rises. With \`task\` also every change of that one task, without an id.
- \`queues\`: figures of queues that changed, once a second: \`{at, queues}\` as \`GET /api/queue/stats\` has them.
- \`gap\`: events were left out, since the client was too far behind: \`{missed}\`, null where nobody knows.

\`Last-Event-ID\` goes on behind that event. A comment comes every 15 s when nothing happens. The stream ends when the gateway stops: reconnect.`;

/** `GET /api/v1/events` */
export function eventsRoute(gateway: Gateway): ApiRoute {
  const open = { count: 0 };
  return {
    method: 'GET',
    path: '/api/v1/events',
    scope: 'read',
    operationId: 'events',
    tag: 'tasks',
    summary: 'Follow queues and tasks live',
    description,
    query,
    answers: { 200: [{ description: 'A stream that does not end.', schema: z.string(), contentType: 'text/event-stream' }] },
    problems: ['invalid-argument', 'unknown-queue', 'too-many-streams', 'not-connected', 'request-timeout', 'jetstream-api'],
    handler: async (request, reply) => {
      const wanted = validate(query, request.query, 'query');
      if (wanted.task !== undefined) assertTask(request.caller, wanted.task);
      if (wanted.task === undefined || wanted.queue !== undefined) assertQueueNamed(request.caller, wanted.queue, 'queue');
      const after = lastEventId(request);
      assertConnected(gateway);
      if (wanted.queue !== undefined) await gateway.client.definition(wanted.queue);
      if (open.count >= MOST_STREAMS) throw tooMany();
      open.count++;
      try {
        return await stream(gateway, wanted, after, reply, () => open.count--);
      } catch (error) {
        open.count--;
        throw error;
      }
    },
  };
}

async function stream(
  { client, stats, closing }: Gateway,
  { queue, task, about = [...SUBJECTS] }: z.output<typeof query>,
  after: number | undefined,
  reply: FastifyReply,
  ended: () => void,
): Promise<FastifyReply> {
  if (task !== undefined) parseTaskId(task);
  const options = { ...(queue ? { queue } : {}), ...(task ? { id: task } : {}), ...(after === undefined ? {} : { after }) };
  const tasks = about.includes('tasks') || task ? await client.events(options) : undefined;
  const text = eventStream({
    closing,
    ...(queue ? { queue } : {}),
    ...(tasks ? { tasks } : {}),
    ...(task ? { status: () => client.status(task) } : about.includes('queues') ? { stats: () => stats.read() } : {}),
  });
  const body = Readable.from(text);
  body.once('close', ended);
  // Proxies must not gather what is meant to arrive at once; and a connection that outlives its stream would hold up a stop.
  reply.headers({ 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no', connection: 'close' });
  reply.header('cache-control', 'no-store');
  return reply.send(body);
}

function lastEventId(request: FastifyRequest): number | undefined {
  const given = request.headers['last-event-id'];
  if (given === undefined || given === '') return undefined;
  const value = Number(given);
  if (/^\d{1,16}$/.test(String(given)) && Number.isSafeInteger(value)) return value;
  throw new JetlaneError('invalid-argument', 'Last-Event-ID is no id of an event; leave it out to begin with what happens from now on', {
    details: { field: 'Last-Event-ID' },
  });
}

const tooMany = (): JetlaneError =>
  new JetlaneError('too-many-streams', `${MOST_STREAMS} event streams are open on this gateway; try again later, or ask for status`, {
    details: { limit: MOST_STREAMS },
  });
