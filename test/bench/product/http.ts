import { createHash } from 'node:crypto';
import { expectCount, type Job, type Measurement, QUEUE } from '../harness/contract.js';
import { loadEnqueue } from '../harness/http-measure.js';
import { startSink } from '../harness/otlp-sink.js';
import { countMessages, names, newestShape } from '../wire/admin.js';
import { startService } from './service-process.js';
import { openSession } from './session.js';

const KEY = 'jl_a-key-for-the-benchmark';
const keyLine = `bench sha256:${createHash('sha256').update(KEY).digest('hex')} scopes=produce queues=${QUEUE}`;

/** What is on: authentication by a hashed key and a rate limit that lets all through. Validation and access log cannot be taken out. */
const SHIPPED = { JETLANE_API_KEY_HASHES: keyLine, JETLANE_RATE_LIMIT: '1000000/s' };
/** What can be off is off: no key, no limit, no access lines, no spans. */
const OFF = { JETLANE_RATE_LIMIT: 'off', JETLANE_RATE_LIMIT_REFUSED: 'off', LOG_LEVEL: 'warn' };

/**
 * The gateway under the same load as the bare route. Variants: empty for all on and spans sent to a collector; `untraced` for all on
 * without a collector, as it starts; `off`; `fresh` for all on, and every request on a new connection.
 */
export async function run(job: Job): Promise<Measurement> {
  const session = await openSession(job, 'http');
  const sink = job.variant === '' ? await startSink() : undefined;
  const settings = job.variant === 'off' ? OFF : { ...SHIPPED, ...(sink ? { OTEL_EXPORTER_OTLP_ENDPOINT: sink.url } : {}) };
  const gateway = await startService(job, 'gateway', 'GATEWAY_PORT', settings);
  const headers = job.variant === 'off' ? [] : [`authorization: Bearer ${KEY}`];
  try {
    const target = { port: gateway.port, path: '/api/queue/enqueue', pid: gateway.pid, headers, fresh: job.variant === 'fresh' };
    const { values, accepted } = await loadEnqueue(job, target);
    const { laneStream } = names(job.namespace);
    expectCount('stored tasks', await countMessages(session.observer, laneStream), accepted);
    if (sink && sink.requests === 0) throw new Error('no span reached the collector: tracing was not on');
    const task = await newestShape(session.observer, laneStream, job.namespace);
    return { values, shapes: task === undefined ? {} : { task } };
  } finally {
    await gateway.stop();
    await sink?.stop();
    await session.close();
  }
}
