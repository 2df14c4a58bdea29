import { fastify } from 'fastify';
import { expectCount, type Job, type Measurement, QUEUE } from '../harness/contract.js';
import { loadEnqueue } from '../harness/http-measure.js';
import { countMessages, names, newestShape, provision } from '../wire/admin.js';
import { WireLink } from '../wire/link.js';
import { storedNew } from '../wire/publish.js';
import { keyOf, taskHeaders } from '../wire/task.js';

interface EnqueueBody {
  queue_name: string;
  task_type: string;
  task_data: unknown;
  priority: string;
}

/**
 * A bare Fastify route in front of the bare publisher: no schema, no log, no tracing; the answer waits for the PubAck. Variant
 * `fresh`: every request on a new connection.
 */
export async function run(job: Job): Promise<Measurement> {
  const link = await WireLink.open(job.natsUrl, 'bench-fastify');
  await provision(link, job.namespace);
  const { taskPrefix, laneStream } = names(job.namespace);
  let index = 0;
  const app = fastify({ logger: false });
  app.post<{ Body: EnqueueBody }>('/enqueue', async (request, reply) => {
    const key = keyOf(index);
    const ack = await link.ask(taskPrefix + key, Buffer.from(JSON.stringify(request.body.task_data)), taskHeaders(key, index++));
    if (!storedNew(ack.data)) return reply.code(503).send({ code: 'not-stored' });
    return reply.code(202).send({ task_id: `${QUEUE}.${key}`, queue_name: request.body.queue_name, state: 'queued', duplicate: false });
  });
  await app.listen({ port: 0, host: '127.0.0.1' });
  const { port } = app.server.address() as { port: number };
  const { values, accepted } = await loadEnqueue(job, { port, path: '/enqueue', pid: process.pid, fresh: job.variant === 'fresh' });
  await app.close();
  expectCount('stored tasks', await countMessages(link, laneStream), accepted);
  const task = await newestShape(link, laneStream, job.namespace);
  await link.close();
  return { values, shapes: task === undefined ? {} : { task } };
}
