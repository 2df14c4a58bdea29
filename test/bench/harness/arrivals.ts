import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Tasks that arrive steadily, from a process of their own. */
export interface ArrivalsOrder {
  readonly natsUrl: string;
  readonly namespace: string;
  readonly lane: string;
  /** Tasks per second. */
  readonly rate: number;
  /** The key begins with the time of sending, in microseconds since 1970. */
  readonly stamped: boolean;
}

export interface Arrivals {
  /** Ends them. @returns how many were stored */
  stop(): Promise<number>;
}

/** Begins to send. */
export function startArrivals(order: ArrivalsOrder): Arrivals {
  const child = fork(fileURLToPath(new URL('../arrivals-child.js', import.meta.url)), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const stored = new Promise<number>((resolve, reject) => {
    child.on('message', (message: { stored: number }) => resolve(message.stored));
    child.once('error', reject);
    child.once('exit', (code) =>
      reject(new Error(`the process that sends ${order.lane} tasks ended with code ${code} before it reported`)),
    );
  });
  stored.catch(() => undefined);
  child.send(order);
  return {
    stop: () => {
      child.send('stop');
      return stored;
    },
  };
}

/** Milliseconds since a stamped key was made. */
export const ageOf = (key: string): number => performance.timeOrigin + performance.now() - Number.parseInt(key, 10) / 1000;
