import { createServer } from 'node:net';
import { LaunchError } from '../errors.js';
import { type OtherStart, otherStartOf } from './other-start.js';
import { holderOfPort, type PortHolder } from './port-holder.js';

const LOOPBACK = '127.0.0.1';

/** A port that somebody wants to listen on. */
export interface WantedPort {
  /** Whose port, for the message: "gateway". */
  name: string;
  port: number;
  /** The environment variable that changes it. */
  env?: string;
}

/** A port that was free a moment ago. Another process may take it before you do, so be ready to ask again. */
export async function freePort(host = LOOPBACK): Promise<number> {
  const [port] = await freePorts(1, host);
  return port as number;
}

/** Several ports that were free a moment ago, all different. */
export async function freePorts(count: number, host = LOOPBACK): Promise<number[]> {
  const listeners = await Promise.all(Array.from({ length: count }, () => listen(0, host)));
  const ports = listeners.map((listener) => listener.port);
  await Promise.all(listeners.map((listener) => listener.close()));
  return ports;
}

/** Whether we could listen on this port now. */
export async function isPortFree(port: number, host = LOOPBACK): Promise<boolean> {
  try {
    await (await listen(port, host)).close();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return false;
    throw error;
  }
}

/** @throws LaunchError `port-taken` naming every port that is taken, who holds it, and what changes it. */
export async function assertPortsFree(wanted: readonly WantedPort[], host = LOOPBACK): Promise<void> {
  const free = await Promise.all(wanted.map(({ port }) => isPortFree(port, host)));
  const taken = wanted.filter((_, index) => !free[index]);
  if (taken.length === 0) return;
  const described = taken.map((want) => ({ ...want, holder: holderOfPort(want.port) }));
  throw new LaunchError('port-taken', describeTaken(described), { retryable: true, details: { ports: described } });
}

type TakenPort = WantedPort & { holder: PortHolder | undefined };

function describeTaken(taken: readonly TakenPort[]): string {
  const [only] = taken;
  const pids = taken.flatMap(({ holder }) => holder?.pid ?? []);
  const other = pids.length === taken.length ? otherStartOf(pids) : undefined;
  if (other !== undefined) return describeOther(taken, other);
  if (only === undefined || taken.length > 1) return describeMany(taken);
  const wayOut = only.env === undefined ? 'Stop it or choose another port.' : `Stop it, or choose another port with ${only.env}=<port>.`;
  return `Port ${only.port} (${only.name}) is taken by ${describeHolder(only)}. ${wayOut}`;
}

function describeMany(taken: readonly TakenPort[]): string {
  const lines = taken.map((port) => `  ${port.port} (${port.name}) by ${describeHolder(port)}${change(port)}`);
  return `${taken.length} ports are taken. Stop what has them, or choose others:\n${lines.join('\n')}`;
}

function describeOther(taken: readonly TakenPort[], { pid, dataDir }: OtherStart): string {
  const lines = taken.map((port) => `  ${port.port} (${port.name})${change(port)}`);
  const wayOut = `Stop it (Ctrl-C in its terminal, or kill ${pid}), or choose other ports`;
  return `Another Jetlane, pid ${pid} with its data in ${dataDir}, has these ports. ${wayOut}:\n${lines.join('\n')}`;
}

function describeHolder({ holder }: TakenPort): string {
  return holder === undefined ? 'another process' : `pid ${holder.pid} (${holder.command})`;
}

function change({ env }: WantedPort): string {
  return env === undefined ? '' : `: ${env}=<port>`;
}

function listen(port: number, host: string): Promise<{ port: number; close(): Promise<void> }> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ port, host, exclusive: true }, () => {
      const address = server.address();
      const bound = typeof address === 'object' && address !== null ? address.port : port;
      resolve({ port: bound, close: () => new Promise((done) => server.close(() => done())) });
    });
  });
}
