import { connect, type Socket } from 'node:net';
import type { Job, Measurement } from '../harness/contract.js';
import { residentMegabytes } from '../harness/measure.js';
import { startService } from './service-process.js';
import { openSession } from './session.js';

/** Connections that are opened at the same time. */
const AT_ONCE = 200;
const HELD_MS = 2000;
const REQUEST = 'GET /api/queue/stats/bench HTTP/1.1\r\nHost: localhost\r\n\r\n';

/** Keep-alive connections by the thousand, each used once before it rests: what the gateway holds for them, and whether all still work. */
export async function run(job: Job): Promise<Measurement> {
  const session = await openSession(job, 'http-connections');
  const gateway = await startService(job, 'gateway', 'GATEWAY_PORT');
  const sockets: Socket[] = [];
  try {
    const before = residentMegabytes(gateway.pid);
    while (sockets.length < job.count) {
      const opening = Math.min(AT_ONCE, job.count - sockets.length);
      sockets.push(...(await Promise.all(Array.from({ length: opening }, () => open(gateway.port)))));
    }
    await new Promise((resolve) => setTimeout(resolve, HELD_MS));
    const resident = residentMegabytes(gateway.pid);
    const alive = sockets.filter((socket) => !socket.destroyed);
    if (alive.length < job.count) throw new Error(`${job.count - alive.length} of ${job.count} connections were closed`);
    for (const socket of alive.slice(0, AT_ONCE)) await ask(socket);
    return { values: { resident, each: ((resident - before) * 1024) / job.count } };
  } finally {
    for (const socket of sockets) socket.destroy();
    await gateway.stop();
    await session.close();
  }
}

async function open(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1' });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (error: NodeJS.ErrnoException) => reject(error.code === 'EMFILE' ? tooFew() : error));
  });
  await ask(socket);
  return socket;
}

function ask(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    const onClose = () => reject(new Error('the gateway closed a connection'));
    socket.once('close', onClose);
    socket.once('data', () => {
      socket.off('close', onClose);
      resolve();
    });
    socket.write(REQUEST);
  });
}

const tooFew = (): Error => new Error('too few file descriptors for so many connections: raise "ulimit -n" (docs/tuning.md)');
