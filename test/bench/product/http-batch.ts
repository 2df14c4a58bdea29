import { request } from 'node:http';
import { expectCount, type Job, type Measurement, QUEUE, TASK_TYPE } from '../harness/contract.js';
import { residentMegabytes, Stopwatch } from '../harness/measure.js';
import { payload } from '../harness/payload.js';
import { countMessages, names } from '../wire/admin.js';
import { startService } from './service-process.js';
import { openSession } from './session.js';

const LINES_PER_CHUNK = 200;
const SAMPLE_MS = 100;
const line = `${JSON.stringify({ queue_name: QUEUE, task_type: TASK_TYPE, task_data: payload, priority: 'NORMAL' })}\n`;

/** One NDJSON batch of `count` tasks through the gateway, its lines made as they are sent; how much the gateway's memory grew. */
export async function run(job: Job): Promise<Measurement> {
  const session = await openSession(job, 'http-batch');
  const gateway = await startService(job, 'gateway', 'GATEWAY_PORT');
  // What every process allocates at its first requests is no growth.
  await upload(gateway.port, Math.round(job.count / 20));
  const before = residentMegabytes(gateway.pid);
  let peak = before;
  const sampler = setInterval(() => {
    peak = Math.max(peak, residentMegabytes(gateway.pid));
  }, SAMPLE_MS);
  try {
    const watch = new Stopwatch(job.natsPid);
    const accepted = await upload(gateway.port, job.count);
    const { rate = Number.NaN } = watch.stop(job.count);
    expectCount('accepted tasks', accepted, job.count);
    const { laneStream } = names(job.namespace);
    expectCount('stored tasks', await countMessages(session.observer, laneStream), job.count + Math.round(job.count / 20));
    return { values: { rate, growth: peak - before, resident: peak } };
  } finally {
    clearInterval(sampler);
    await gateway.stop();
    await session.close();
  }
}

/** Sends a batch as fast as it is read. @returns how many tasks were accepted */
function upload(port: number, count: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/x-ndjson' };
    const sent = request({ port, host: '127.0.0.1', method: 'POST', path: '/api/queue/enqueue/batch', headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      answer.on('end', () => resolve((JSON.parse(text) as { accepted: number }).accepted));
    });
    sent.once('error', reject);
    let left = count;
    const more = (): void => {
      while (left > 0) {
        const lines = Math.min(left, LINES_PER_CHUNK);
        left -= lines;
        if (!sent.write(line.repeat(lines))) return void sent.once('drain', more);
      }
      sent.end();
    };
    more();
  });
}
