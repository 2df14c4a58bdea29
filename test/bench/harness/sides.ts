import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { ChildOrder } from '../child.js';
import type { Measurement } from './contract.js';

/** The same for every side, product, wire and BullMQ alike (docs/benchmarks.md). */
const NODE_FLAGS = ['--max-semi-space-size=64'];

const living = new Set<ChildProcess>();

/** Runs one side once in a process of its own. @throws Error with the side's own words when it fails */
export function runSide(order: ChildOrder): Promise<Measurement> {
  const child = fork(fileURLToPath(new URL('../child.js', import.meta.url)), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    execArgv: NODE_FLAGS,
  });
  living.add(child);
  return new Promise((resolve, reject) => {
    child.on('message', (message: { measurement?: Measurement; failure?: string }) => {
      if (message.measurement !== undefined) resolve(message.measurement);
      if (message.failure !== undefined) reject(new Error(`${order.side} ${order.job.variant}: ${message.failure}`));
    });
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      living.delete(child);
      reject(new Error(`${order.side} ended with ${signal ?? code} before it reported`));
    });
    child.send(order);
  });
}

/** Ends the side that is running, if any. */
export function stopSides(): void {
  for (const child of living) child.kill('SIGTERM');
}
