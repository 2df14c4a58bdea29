import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Job } from '../harness/contract.js';
import { freePort } from '../harness/daemon.js';

const ROOT = fileURLToPath(new URL('../../../..', import.meta.url));
const START_TIMEOUT_MS = 20_000;

/** A service as shipped, in a process of its own with the Node flags of every side, its log and its files in a folder that goes with it. @param settings environment, over that of this process */
export async function startService(job: Job, service: string, portVariable: string, settings: Readonly<Record<string, string>> = {}) {
  const folder = mkdtempSync(join(tmpdir(), `jetlane-bench-${service}-`));
  const log = openSync(join(folder, 'service.log'), 'w');
  const port = await freePort();
  const env = {
    ...process.env,
    ...{
      HOST: '127.0.0.1',
      [portVariable]: String(port),
      NATS_URL: job.natsUrl,
      JETLANE_NAMESPACE: job.namespace,
      JETLANE_DATA_DIR: folder,
    },
    ...settings,
  };
  const child = spawn(process.execPath, [...process.execArgv, join(ROOT, 'apps', service, 'dist/main.js')], {
    env,
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async () => {
    child.kill('SIGTERM');
    await exited;
    rmSync(folder, { recursive: true, force: true });
  };
  // An interrupted benchmark leaves no service behind.
  process.once('exit', () => child.kill('SIGKILL'));
  try {
    await untilReady(`http://127.0.0.1:${port}/health/ready`, service, () => child.exitCode !== null);
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, pid: child.pid!, stop };
}

async function untilReady(url: string, service: string, ended: () => boolean): Promise<void> {
  for (const deadline = performance.now() + START_TIMEOUT_MS; performance.now() < deadline && !ended(); ) {
    const status = await fetch(url).then(
      (answer) => answer.status,
      () => 0,
    );
    if (status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`the ${service} did not become ready${ended() ? ': it ended' : ` within ${START_TIMEOUT_MS / 1000} s`}`);
}
