import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect as connectSocket, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { type RunningService, startService } from '@jetlane/nestjs/service';
import { type NatsServer, startNatsServer } from '@jetlane/testing';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readGatewayConfig } from '../../apps/gateway/src/config.js';
import { gatewayService } from '../../apps/gateway/src/service.js';
import { makeCertificate } from '../support/certificate.js';
import { eventually } from '../support/wait-until.js';

/** Far less than Node waits for the first headers of a connection (30 s here), or for a TLS handshake (120 s). */
const SOON_MS = 12_000;
const LIVE = 'GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n';

let nats: NatsServer;
let folder: string;

beforeAll(async () => {
  nats = await startNatsServer();
  folder = await mkdtemp(join(tmpdir(), 'jetlane-close-'));
});
afterAll(async () => {
  await nats.stop();
  await rm(folder, { recursive: true, force: true });
});

async function startGateway(
  env: Record<string, string> = {},
  shutdownTimeoutMs?: number,
): Promise<{ service: RunningService; port: number }> {
  const config = readGatewayConfig({ GATEWAY_PORT: '0', NATS_URL: nats.url, ...env });
  const options = { ...gatewayService(config, pino({ level: 'silent' })), ...(shutdownTimeoutMs ? { shutdownTimeoutMs } : {}) };
  const service = await startService(options, pino({ level: 'silent' }));
  return { service, port: Number(new URL(service.url).port) };
}

/** A connection that is open, and a promise of its end. */
async function opened(socket: Socket, event = 'connect'): Promise<{ socket: Socket; closed: Promise<unknown> }> {
  socket.on('error', () => undefined);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await once(socket, event);
  return { socket, closed };
}

/** One request over it has been answered; it rests. */
async function used(socket: Socket): Promise<void> {
  socket.write(LIVE);
  await once(socket, 'data');
}

async function stopTime(service: RunningService): Promise<number> {
  const before = performance.now();
  await service.stop();
  return performance.now() - before;
}

describe('a stop of the gateway', () => {
  it('does not wait for connections that rest, or have never sent anything', async () => {
    const { service, port } = await startGateway();
    const silent = await opened(connectSocket(port, '127.0.0.1'));
    const idle = await opened(connectSocket(port, '127.0.0.1'));
    await used(idle.socket);
    expect(await stopTime(service)).toBeLessThan(SOON_MS);
    await Promise.all([silent.closed, idle.closed]);
  });

  it('over TLS neither, nor for those that have not even shaken hands', async () => {
    const { certFile, keyFile } = makeCertificate(folder, 'localhost');
    const { service, port } = await startGateway({ JETLANE_TLS_CERT: certFile, JETLANE_TLS_KEY: keyFile });
    const over = () => opened(connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }), 'secureConnect');
    const raw = await opened(connectSocket(port, '127.0.0.1'));
    const [silent, idle] = [await over(), await over()];
    await used(idle.socket);
    expect(await stopTime(service)).toBeLessThan(SOON_MS);
    await Promise.all([raw.closed, silent.closed, idle.closed]);
  });

  it('answers what is under way', async () => {
    const { service, port } = await startGateway();
    const { socket } = await opened(connectSocket(port, '127.0.0.1'));
    let answer = '';
    socket.on('data', (data) => {
      answer += data.toString();
    });
    socket.write('POST /api/queue/enqueue HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{');
    // Answered on another connection: by now the gateway has read the headers of the first one.
    await used((await opened(connectSocket(port, '127.0.0.1'))).socket);
    const stopped = stopTime(service);
    socket.write('}');
    await eventually('the answer is there', () => answer.startsWith('HTTP/1.1 4'));
    expect(await stopped).toBeLessThan(SOON_MS);
  });

  it('cuts off a request that does not end, while there is time left for the rest', async () => {
    const { service, port } = await startGateway({}, 5000);
    const endless = await opened(connectSocket(port, '127.0.0.1'));
    const head =
      'POST /api/queue/enqueue/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n';
    endless.socket.write(head);
    await used((await opened(connectSocket(port, '127.0.0.1'))).socket);
    expect(await stopTime(service)).toBeLessThan(SOON_MS);
    await endless.closed;
  });
});
