import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Job } from '../harness/contract.js';
import { freePort } from '../harness/daemon.js';

const MAIN = fileURLToPath(new URL('../../../../apps/gateway/dist/main.js', import.meta.url));
const START_TIMEOUT_MS = 20_000;

/** A gateway in a process of its own, its log in a file. */
export interface GatewayProcess {
  port: number;
  pid: number;
  stop(): Promise<void>;
}

/** Starts a gateway and waits until it is ready. @param settings environment, over that of this process */
export async function startGateway(job: Job, settings: Readonly<Record<string, string>>): Promise<GatewayProcess> {
  const folder = mkdtempSync(join(tmpdir(), 'jetlane-bench-gateway-'));
  const log = openSync(join(folder, 'gateway.log'), 'w');
  const port = await freePort();
  const own = { HOST: '127.0.0.1', GATEWAY_PORT: String(port), NATS_URL: job.natsUrl, JETLANE_NAMESPACE: job.namespace };
  const child = spawn(process.execPath, [MAIN], { env: { ...process.env, ...own, ...settings }, stdio: ['ignore', log, log] });
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
