import { expectCount, type Job, type Measurement } from '../harness/contract.js';
import { loadEnqueue } from '../harness/http-measure.js';
import { countMessages, names, newestShape } from '../wire/admin.js';
import { startService } from './service-process.js';
import { openSession } from './session.js';

/** The gateway as shipped (validation, tracing, access log), its log in a file, under the same load as the bare route. */
export async function run(job: Job): Promise<Measurement> {
  const session = await openSession(job, 'http');
  const gateway = await startService(job, 'gateway', 'GATEWAY_PORT');
  try {
    const { values, accepted } = await loadEnqueue(job, { port: gateway.port, path: '/api/queue/enqueue', pid: gateway.pid });
    const { laneStream } = names(job.namespace);
    expectCount('stored tasks', await countMessages(session.observer, laneStream), accepted);
    const task = await newestShape(session.observer, laneStream, job.namespace);
    return { values, shapes: task === undefined ? {} : { task } };
  } finally {
    await gateway.stop();
    await session.close();
  }
}
