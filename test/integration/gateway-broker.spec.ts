import { waitUntil } from '@jetlane/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { GatewayFixture, type Json } from './gateway-fixture.js';

let gateway: GatewayFixture;

beforeAll(async () => {
  gateway = await GatewayFixture.start();
});

afterAll(() => gateway.stop());

const task: Json = { queue_name: 'default', task_type: 'noop', task_data: 1 };

it('answers 503 at once while the broker is away, and recovers by itself', async () => {
  const before = await gateway.enqueue(task);
  expect(before.status).toBe(202);
  gateway.nats.kill('SIGKILL');
  await gateway.nats.exited;
  await waitUntil(() => gateway.service.context.connection.state !== 'connected', { timeoutMs: 10_000 });

  const begin = performance.now();
  const answers = await Promise.all([
    gateway.enqueue(task),
    gateway.enqueue({ ...task, task_id: 'k' }),
    gateway.post('/api/queue/enqueue?wait=30s', task),
    gateway.post('/api/queue/enqueue/batch', '[]'),
    gateway.get(`/api/queue/status/${before.body.task_id}`),
    gateway.get('/api/queue/stats'),
    gateway.post('/api/queue/example/credit-update', { user_id: 'u', delta: 1 }),
  ]);
  expect(performance.now() - begin).toBeLessThan(500);
  for (const { status, body, headers } of answers) {
    expect([status, body.code, body.retryable, headers.get('retry-after')]).toEqual([503, 'not-connected', true, '1']);
  }
  expect((await gateway.enqueue('{')).status).toBe(400);
  expect((await gateway.get('/health/ready')).status).toBe(503);
  expect((await gateway.get('/health/live')).status).toBe(200);

  await gateway.nats.start();
  const back = await waitUntil(async () => (await gateway.enqueue(task)).status === 202, { timeoutMs: 10_000, everyMs: 50 });
  expect(back).toBe(true);
  expect((await gateway.get(`/api/queue/status/${before.body.task_id}`)).body.state).toBe('queued');
  expect((await gateway.get('/health/ready')).status).toBe(200);
});

it('confirms what is under way when the broker comes back', async () => {
  await gateway.enqueue(task);
  gateway.nats.kill('SIGSTOP');
  const pending = gateway.enqueue(task);
  await new Promise((resolve) => setTimeout(resolve, 300));
  gateway.nats.kill('SIGCONT');
  expect((await pending).status).toBe(202);
});
