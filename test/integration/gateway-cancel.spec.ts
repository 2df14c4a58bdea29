import { Worker } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Steering } from '../../apps/queue-manager/src/steering/steering.js';
import { GatewayFixture } from './gateway-fixture.js';
import { eventually, keepingLog } from './services-fixture.js';

let gateway: GatewayFixture;
let worker: Worker;
let steering: Steering;
let running = 0;
beforeAll(async () => {
  gateway = await GatewayFixture.start();
  steering = new Steering(gateway.admin, { log: keepingLog() });
  await steering.start();
  const hold = (_: unknown, { signal }: { signal: AbortSignal }) => {
    running++;
    return new Promise((_done, fail) => signal.addEventListener('abort', () => fail(signal.reason)));
  };
  worker = new Worker(gateway.admin, { queue: 'typed', handlers: { hold, echo: () => 'done' } });
  await worker.start();
});
afterAll(async () => {
  await worker.stop();
  await steering.stop();
  await gateway.stop();
});

const enqueue = async (over: object = {}): Promise<string> =>
  String((await gateway.enqueue({ queue_name: 'default', task_type: 'noop', task_data: {}, ...over })).body.task_id);
const statusOf = async (id: string) => (await gateway.get(`/api/queue/status/${id}`)).body;

describe('POST /api/v1/tasks/{task_id}/cancel', () => {
  it('cancels a task that waits, with and without a body', async () => {
    const ids = [await enqueue(), await enqueue({ delay: '1h', task_id: 'k'.repeat(128) })];
    expect((await gateway.post(`/api/v1/tasks/${ids[0]}/cancel`, { reason: 'ordered twice' })).body).toEqual({
      task_id: ids[0],
      result: 'cancelled',
    });
    expect(await gateway.call('POST', `/api/v1/tasks/${ids[1]}/cancel`)).toMatchObject({ status: 200, body: { result: 'cancelled' } });
    expect(await statusOf(ids[0]!)).toMatchObject({ state: 'cancelled', reason: 'ordered twice' });
    expect(await statusOf(ids[1]!)).toMatchObject({ state: 'cancelled', reason: 'cancelled' });
  });

  it('says that a running one was told, and that a finished one is too late', async () => {
    const id = await enqueue({ queue_name: 'typed', task_type: 'hold' });
    await eventually('it runs', () => running === 1);
    expect((await gateway.post(`/api/v1/tasks/${id}/cancel`, {})).body).toMatchObject({ result: 'requested' });
    expect(await statusOf(id)).toMatchObject({ state: 'cancelled' });
    const { body } = await gateway.post('/api/queue/enqueue?wait=10s', { queue_name: 'typed', task_type: 'echo', task_data: {} });
    expect(body.state).toBe('completed');
    expect((await gateway.post(`/api/v1/tasks/${String(body.task_id)}/cancel`, {})).body).toMatchObject({ result: 'too-late' });
  });

  it.each([
    ['no task', '/api/v1/tasks/default.none/cancel', {}, 404, 'task-not-found'],
    ['no queue', '/api/v1/tasks/nowhere.none/cancel', {}, 404, 'unknown-queue'],
    ['no id', '/api/v1/tasks/none/cancel', {}, 400, 'invalid-argument'],
    ['an unknown field', '/api/v1/tasks/default.none/cancel', { raeson: 'x' }, 400, 'invalid-argument'],
    ['a long reason', '/api/v1/tasks/default.none/cancel', { reason: 'x'.repeat(501) }, 400, 'invalid-argument'],
    ['a group of no queue', '/api/v1/queues/nowhere/groups/g/cancel', {}, 404, 'unknown-queue'],
  ] as const)('answers %s with a problem', async (_, path, body, status, code) => {
    expect(await gateway.post(path, body)).toMatchObject({ status, body: { code } });
  });

  it('cancels a group, whatever its name', async () => {
    const group = 'a group/of 50 %';
    const path = `/api/v1/queues/default/groups/${encodeURIComponent(group)}/cancel`;
    const { names } = gateway.admin;
    for (let i = 0; i < 5; i++)
      await gateway.admin.publish(
        names.task('default', 'low', `g${i}`),
        '{}',
        `NATS/1.0\r\nTask-Type: noop\r\nTask-Group: ${group}\r\n\r\n`,
      );
    expect((await gateway.post(path, { reason: 'r' })).body).toEqual({
      queue_name: 'default',
      group,
      cancelled: 5,
      requested: 0,
      complete: true,
    });
    expect(await statusOf('default.g4')).toMatchObject({ state: 'cancelled', reason: 'r', group });
  });

  it('is described', async () => {
    const { body } = await gateway.get('/docs-json');
    const paths = body.paths as Record<string, { post: { requestBody: { required: boolean } } }>;
    expect(paths['/api/v1/tasks/{task_id}/cancel']!.post.requestBody.required).toBe(false);
    expect(paths['/api/v1/queues/{queue}/groups/{group}/cancel']!.post).toMatchObject({ operationId: 'tasksCancelGroup' });
  });
});
