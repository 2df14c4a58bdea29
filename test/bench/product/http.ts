import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expectCount, type Job, type Measurement } from '../harness/contract.js';
import { freePort } from '../harness/daemon.js';
import { loadEnqueue } from '../harness/http-measure.js';
import { countMessages, names, newestShape } from '../wire/admin.js';
import { openSession } from './session.js';

const MAIN = fileURLToPath(new URL('../../../../apps/gateway/dist/main.js', import.meta.url));
const START_TIMEOUT_MS = 20_000;

/** The gateway as shipped (validation, tracing, access log), its log in a file, under the same load as the bare route. */
export async function run(job: Job): Promise<Measurement> {
  const session = await openSession(job, 'http');
  const gateway = await startGateway(job);
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

async function startGateway(job: Job) {
  const folder = mkdtempSync(join(tmpdir(), 'jetlane-bench-gateway-'));
  const log = openSync(join(folder, 'gateway.log'), 'w');
  const port = await freePort();
  const env = { ...process.env, HOST: '127.0.0.1', GATEWAY_PORT: String(port), NATS_URL: job.natsUrl, JETLANE_NAMESPACE: job.namespace };
  const child = spawn(process.execPath, [MAIN], { env, stdio: ['ignore', log, log] });
  closeSync(log);
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async () => {
    child.kill('SIGTERM');
    await exited;
    rmSync(folder, { recursive: true, force: true });
  };
  // An interrupted benchmark leaves no gateway behind.
  process.once('exit', () => child.kill('SIGKILL'));
  try {
    await untilReady(`http://127.0.0.1:${port}/health/ready`, () => child.exitCode !== null);
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, pid: child.pid!, stop };
}

async function untilReady(url: string, ended: () => boolean): Promise<void> {
  for (const deadline = performance.now() + START_TIMEOUT_MS; performance.now() < deadline && !ended(); ) {
    const status = await fetch(url).then(
      (answer) => answer.status,
      () => 0,
    );
    if (status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`the gateway did not become ready${ended() ? ': it ended' : ` within ${START_TIMEOUT_MS / 1000} s`}`);
}
