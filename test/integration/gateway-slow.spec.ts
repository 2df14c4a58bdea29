import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { waitUntil } from '@jetlane/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GatewayFixture } from './gateway-fixture.js';

const LIMIT_MS = 400;
const KEY = 'key';
const TASK = '{"queue_name":"default","task_type":"noop","task_data":1}\n';
let gateway: GatewayFixture;

beforeAll(async () => {
  gateway = await GatewayFixture.start({ JETLANE_API_KEYS: KEY }, undefined, {
    bodyTimeoutMs: LIMIT_MS,
    headersTimeoutMs: LIMIT_MS,
    idleTimeoutMs: LIMIT_MS,
  });
});

afterAll(() => gateway.stop());

/** Sends one chunk every 50 ms until `chunks` are sent or the connection closes. */
async function drip(path: string, type: string, chunk: string, chunks: number, key = KEY): Promise<{ answer: string; tookMs: number }> {
  const socket = connect(gateway.port, '127.0.0.1');
  let answer = '';
  socket.on('data', (data) => {
    answer += data.toString();
  });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  const before = performance.now();
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: ${key}\r\nContent-Type: ${type}\r\nTransfer-Encoding: chunked\r\n\r\n`,
  );
  await sendSlowly(socket, chunk, chunks);
  await waitUntil(() => answer !== '' || socket.destroyed);
  socket.destroy();
  return { answer, tookMs: performance.now() - before };
}

function sendSlowly(socket: Socket, chunk: string, chunks: number): Promise<void> {
  let sent = 0;
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (sent++ < chunks && socket.writable) socket.write(`${chunk.length.toString(16)}\r\n${chunk}\r\n`);
      else {
        clearInterval(timer);
        if (socket.writable) socket.write('0\r\n\r\n');
        resolve();
      }
    }, 50);
  });
}

describe('slow bodies', () => {
  it.each(['/api/queue/enqueue', '/nowhere'])('of POST %s are cut in time', async (path) => {
    const { answer, tookMs } = await drip(path, 'application/json', ' ', 200);
    expect(answer).toMatch(/^HTTP\/1\.1 (408|404) /);
    expect(tookMs).toBeLessThan(LIMIT_MS * 4);
  });

  it('get a problem document', async () => {
    const { answer } = await drip('/api/queue/enqueue', 'application/json', ' ', 200);
    expect(answer).toMatch(/^HTTP\/1\.1 408 (.|\r\n)*application\/problem\+json(.|\r\n)*was not complete in time/);
  });

  it('of a batch may take any time while lines keep coming', async () => {
    const { answer, tookMs } = await drip('/api/queue/enqueue/batch', 'application/x-ndjson', TASK, 30);
    expect(answer).toMatch(/^HTTP\/1\.1 202 (.|\r\n)*"accepted":30/);
    expect(tookMs).toBeGreaterThan(LIMIT_MS * 3);
  });

  it('of a batch are cut when it was refused', async () => {
    const { answer, tookMs } = await drip('/api/queue/enqueue/batch', 'application/x-ndjson', TASK, 200, 'wrong');
    expect(answer).toMatch(/^HTTP\/1\.1 401 /);
    expect(tookMs).toBeLessThan(LIMIT_MS * 4);
  });

  it('that end in time are served, also on a connection that was used before', async () => {
    const task = { queue_name: 'default', task_type: 'noop', task_data: 1 };
    for (let i = 0; i < 3; i++) expect((await gateway.enqueue(task, { 'x-api-key': KEY })).status).toBe(202);
  });
});

/** Opens a connection, says `first`, then one byte every 50 ms of `then`; resolves with what was answered when the gateway cut it. */
async function hold(first: string, then = ''): Promise<{ answer: string; tookMs: number }> {
  const socket = connect(gateway.port, '127.0.0.1');
  let answer = '';
  socket.on('data', (data) => {
    answer += data.toString();
  });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  const begin = performance.now();
  socket.write(first);
  let sent = 0;
  const timer = setInterval(() => sent < then.length && socket.writable && socket.write(then[sent++]!), 50);
  const cut = await waitUntil(() => socket.destroyed || socket.readableEnded, { timeoutMs: 15_000 });
  clearInterval(timer);
  socket.destroy();
  expect(cut, 'the gateway cuts the connection').toBe(true);
  return { answer, tookMs: performance.now() - begin };
}

describe('connections', () => {
  const request = 'GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n';

  it('that send their headers byte by byte are cut', async () => {
    const { answer, tookMs } = await hold('GET /health/live HTTP/1.1\r\n', `X-Slow: ${'a'.repeat(1000)}`);
    expect(answer).toMatch(/^HTTP\/1\.1 408 /);
    expect(tookMs).toBeGreaterThan(LIMIT_MS / 2);
  });

  it('that send nothing after their first line of headers are cut', async () => {
    expect((await hold('GET / HT')).answer).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('that rest after an answer are closed', async () => {
    const { answer, tookMs } = await hold(request);
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(answer).not.toContain('408');
    expect(tookMs).toBeGreaterThan(LIMIT_MS / 2);
  });

  it('by the hundred do not keep others from being served', async () => {
    const slow = Array.from({ length: 300 }, () => hold('POST /api/queue/enqueue HTTP/1.1\r\nHost: localhost\r\nX-A', 'aaa'));
    expect((await fetch(`${gateway.url}/health/live`)).status).toBe(200);
    for (const { answer } of await Promise.all(slow)) expect(answer).toMatch(/^HTTP\/1\.1 408 /);
  });
});
