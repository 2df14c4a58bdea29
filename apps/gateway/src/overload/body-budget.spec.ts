import { once } from 'node:events';
import { connect } from 'node:net';
import { fastify } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BodyBudget } from './body-budget.js';

const BUDGET = 1000;
let app: ReturnType<typeof fastify>;
let port: number;
let release: () => void;

beforeEach(async () => {
  const budget = new BodyBudget(BUDGET, 0);
  app = fastify();
  budget.watch(app);
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  app.post(
    '/held',
    budget.around(async () => {
      await gate;
      return 'held';
    }),
  );
  app.post(
    '/quick',
    budget.around(async () => 'quick'),
  );
  await app.listen({ port: 0, host: '127.0.0.1' });
  port = (app.server.address() as { port: number }).port;
});

afterEach(async () => {
  release();
  await app.close();
});

const post = async (path: string, bytes: number): Promise<number> => {
  const body = JSON.stringify('x'.repeat(bytes - 2));
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', body, headers: { 'content-type': 'application/json' } });
  await answer.text();
  return answer.status;
};

/** Begins a request and goes away before it is answered. */
async function abort(path: string, length: number, body: string): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.write(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n${body}`);
  await expect.poll(() => post('/quick', 300)).toBe(500);
  socket.destroy();
}

describe('BodyBudget', () => {
  it('refuses what does not fit beside the bodies under way, and takes it when they are done', async () => {
    const held = post('/held', 600);
    await expect.poll(() => post('/quick', 500)).toBe(500);
    expect(await post('/quick', 400)).toBe(200);
    release();
    expect(await held).toBe(200);
    expect(await post('/quick', 1000)).toBe(200);
    expect(await post('/quick', 1001)).toBe(500);
  });

  it('gives back what an aborted body counted', async () => {
    await abort('/quick', 900, '"x');
    await expect.poll(() => post('/quick', 900)).toBe(200);
  });

  it('counts a body whose sender went away as long as its handler holds it', async () => {
    await abort('/held', 900, `"${'x'.repeat(898)}"`);
    expect(await post('/quick', 300)).toBe(500);
    release();
    await expect.poll(() => post('/quick', 900)).toBe(200);
  });
});
