import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** What the load generator is asked for: `connections` keep-alive connections that each send the same request again and again. */
export interface LoadOrder {
  port: number;
  path: string;
  body: string;
  connections: number;
  /** Every request on a connection of its own. */
  fresh: boolean;
  /** Lines of headers beside those of every request. */
  headers: readonly string[];
  warmupMs: number;
  durationMs: number;
}

export interface LoadReport {
  /** Answers with status 202, warm-up included: what the server must have stored. */
  accepted: number;
  /** Answers with any other status. */
  refused: number;
  /** Answers within the measured time, and that time. */
  measured: number;
  measuredMs: number;
  p50: number;
  p99: number;
}

/** Runs the load generator in a process of its own; `onMeasured` is called when the warm-up is over and when the measured time is. */
export function runLoad(order: LoadOrder, onMeasured: (edge: 'begin' | 'end') => void): Promise<LoadReport> {
  const child = fork(fileURLToPath(new URL('../load-child.js', import.meta.url)), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  return new Promise((resolve, reject) => {
    child.on('message', (message: { edge?: 'begin' | 'end'; report?: LoadReport }) => {
      if (message.edge !== undefined) onMeasured(message.edge);
      if (message.report !== undefined) resolve(message.report);
    });
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the load generator ended with code ${code} before it reported`)));
    child.send(order);
  });
}
