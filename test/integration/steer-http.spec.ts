import { connect } from '@jetlane/jetstream';
import { COMMANDS } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AuditLog } from '../../apps/queue-manager/src/audit/audit-log.js';
import { Steering } from '../../apps/queue-manager/src/steering/steering.js';
import { GatewayFixture, type Json } from './gateway-fixture.js';
import { eventually, keepingLog } from './services-fixture.js';

let gateway: GatewayFixture;
let parts: { stop(): Promise<void> }[];
beforeAll(async () => {
  gateway = await GatewayFixture.start();
  const link = await connect({ servers: gateway.nats.url });
  const started = [new Steering(link, { log: keepingLog(), saveMs: 100 }), new AuditLog(link)];
  for (const part of started) await part.start();
  parts = [...started, { stop: () => link.close() }];
});
afterAll(async () => {
  for (const part of parts) await part.stop();
  await gateway.stop();
});

const enqueue = async (over: object = {}): Promise<string> =>
  String((await gateway.enqueue({ queue_name: 'default', task_type: 'noop', task_data: {}, ...over })).body.task_id);
const post = async (path: string, body: object = {}): Promise<Json> => {
  const answer = await gateway.post(`/api/v1${path}`, body);
  expect([path, answer.status, answer.body.detail]).toEqual([path, 200, undefined]);
  return answer.body;
};
const get = async (path: string): Promise<Json> => {
  const answer = await gateway.get(`/api/v1${path}`);
  expect([path, answer.status]).toEqual([path, 200]);
  return answer.body;
};
const ended = async ({ id }: Json): Promise<Json> => {
  let job: Json = {};
  await eventually('the job has ended', async () => {
    job = await get(`/jobs/${String(id)}`);
    return job.state !== 'running';
  });
  return job;
};

describe('over HTTP', () => {
  it('a queue is paused, shown, and resumed', async () => {
    expect(await post('/queues/default/pause', { for: '5m', reason: 'r' })).toMatchObject({ paused: true, reason: 'r', by: /^http / });
    expect(await get('/queues/default/pause')).toMatchObject({ paused: true });
    const stats = await gateway.get('/api/queue/stats/default');
    expect(stats.body).toMatchObject({ queues: [{ queue_name: 'default', paused: true }] });
    expect(await gateway.call('POST', '/api/v1/queues/default/resume')).toMatchObject({ status: 200, body: { paused: false } });
  });

  it('tasks are moved, cancelled by a filter and purged, by jobs that can be looked at', async () => {
    await enqueue({ priority: 'low' });
    expect(await post('/queues/default/purge', { all: true, dryRun: true })).toMatchObject({ dryRun: true, matched: { count: 1 } });
    expect(await ended(await post('/queues/default/move', { lane: 'low', toQueue: 'typed', toLane: 'high' }))).toMatchObject({ done: 1 });
    expect(await ended(await post('/queues/typed/purge', { type: 'noop' }))).toMatchObject({ done: 1, state: 'completed' });
    await enqueue();
    expect(await ended(await post('/queues/default/cancel', { type: 'noop' }))).toMatchObject({ done: 1 });
    expect(((await get('/jobs?queue=typed')).items as Json[]).map(({ kind }) => kind)).toEqual(['purge']);
    expect(((await get('/jobs?state=running')).items as Json[]).length).toBe(0);
  });

  it('a drain is begun and cancelled', async () => {
    await enqueue();
    const job = await post('/queues/default/drain');
    expect(job).toMatchObject({ kind: 'drain', state: 'running' });
    await post(`/jobs/${String(job.id)}/cancel`);
    expect(await ended(job)).toMatchObject({ state: 'cancelled' });
    await ended(await post('/queues/default/purge', { all: true }));
  });

  it('a task is cancelled and run once more, a group is cancelled', async () => {
    const id = await enqueue();
    expect(await post(`/tasks/${id}/cancel`, { reason: 'no' })).toEqual({ task_id: id, result: 'cancelled' });
    const gone = await gateway.post(`/api/v1/tasks/${id}/rerun`, {});
    expect([gone.status, gone.body.code]).toEqual([409, 'payload-not-kept']);
    expect(await post(`/tasks/${id}/rerun`, { data: [1] })).toMatchObject({ task_id: id, hop: 2, duplicate: false });
    expect(await post('/queues/default/groups/g/cancel')).toMatchObject({ group: 'g', complete: true });
  });

  it('the audit names who asked, newest first', async () => {
    const { items } = (await get('/audit?limit=3&command=queues.pause')) as { items: Json[] };
    expect(items).toMatchObject([{ command: 'queues.pause', target: 'default', caller: /^http / }]);
    expect(((await get(`/audit?limit=1&from=${Date.now() - 60_000}`)) as { items: Json[] }).items.length).toBe(1);
  });

  it.each([
    ['POST', '/queues/nowhere/pause', {}, 404, 'unknown-queue'],
    ['POST', '/queues/default/pause', { fro: '5m' }, 400, 'invalid-argument'],
    ['POST', '/queues/default/purge', {}, 400, 'invalid-argument'],
    ['POST', '/queues/default/move', { all: true, toLane: 'highest' }, 400, 'invalid-argument'],
    ['GET', '/jobs/none', undefined, 404, 'job-not-found'],
    ['GET', '/audit?limit=many', undefined, 400, 'invalid-argument'],
    ['POST', '/tasks/default.none/rerun', { data: 1 }, 404, 'task-not-found'],
  ] as const)('%s %s with what is wrong is told so', async (method, path, body, status, code) => {
    const answer = method === 'GET' ? await gateway.get(`/api/v1${path}`) : await gateway.post(`/api/v1${path}`, body);
    expect([answer.status, answer.body.code]).toEqual([status, code]);
  });

  it('every command is described', async () => {
    const { body } = await gateway.get('/docs-json');
    const paths = body.paths as Record<string, Record<string, unknown>>;
    for (const { http } of COMMANDS) expect(paths[`/api/v1${http.path}`]).toHaveProperty(http.method.toLowerCase());
  });
});
