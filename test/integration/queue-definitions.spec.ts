import { type Connection, connect, JsonBucket } from '@jetlane/jetstream';
import { LANES } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Audit, type AuditEntry } from '../../apps/queue-manager/src/audit/audit.js';
import { DefinitionCommands } from '../../apps/queue-manager/src/definitions/definition-commands.js';
import { QueueManager } from '../../apps/queue-manager/src/queue-manager.js';
import { GatewayFixture, type Json } from './gateway-fixture.js';
import { eventually, keepingLog } from './services-fixture.js';

let gateway: GatewayFixture;
let connection: Connection;
let manager: QueueManager;
let commands: DefinitionCommands;

beforeAll(async () => {
  gateway = await GatewayFixture.start();
  connection = await connect({ servers: gateway.nats.url });
  manager = new QueueManager(connection, { log: keepingLog(), pollMs: 100 });
  await manager.start();
  commands = new DefinitionCommands(connection, manager.store, manager.provisioner, await Audit.open(connection));
  await commands.start();
});
afterAll(async () => {
  await commands.stop();
  await manager.stop();
  await connection.close();
  await gateway.stop();
});

async function call(method: string, path: string, body?: Json, headers: Record<string, string> = {}) {
  const answer = await fetch(`${gateway.url}/api/v1/queues${path}`, {
    method,
    ...(body ? { body: JSON.stringify(body) } : {}),
    headers: { ...(body ? { 'content-type': 'application/json' } : {}), ...headers },
  });
  return { status: answer.status, etag: answer.headers.get('etag') ?? '', body: (await answer.json()) as Json };
}
const laneConfig = async (queue: string) =>
  (await (await connection.admin()).streams.info(connection.names.lane(queue, 'normal').stream)).config;
const enqueue = (queue: string, key: string, delay = 0) =>
  fetch(`${gateway.url}/api/queue/enqueue`, {
    method: 'POST',
    body: JSON.stringify({ queue_name: queue, task_type: 'noop', task_data: {}, task_id: key, delay }),
    headers: { 'content-type': 'application/json' },
  }).then(({ status }) => status);

describe('queue definitions over HTTP', () => {
  it('PUT creates a queue whose streams stand when it is answered; a second one replaces all fields', async () => {
    const created = await call('PUT', '/mail', { workers: 4, maxDepth: 500, compression: 's2', sla: { warning: '5s', critical: '9s' } });
    expect(created).toMatchObject({ status: 200, body: { definition: { name: 'mail', workers: 4 }, revision: expect.any(Number) } });
    expect(created.etag).toBe(`"${(created.body as { revision: number }).revision}"`);
    expect(await laneConfig('mail')).toMatchObject({ max_msgs: 500, compression: 's2' });
    const { body } = await call('GET', '/mail');
    const again = await call('PUT', '/mail', { ...(body.definition as Json), workers: undefined, maxDepth: 600 });
    expect(again.body.definition).toEqual({ name: 'mail', maxDepth: 600, compression: 's2', sla: { warning: '5s', critical: '9s' } });
    expect((await laneConfig('mail')).max_msgs).toBe(600);
  });

  it('If-Match makes it a compare-and-set; revision 0 creates only', async () => {
    const first = await call('PUT', '/cas', { workers: 1, revision: 0 });
    expect(first.status).toBe(200);
    expect(await call('PUT', '/cas', { workers: 2, revision: 0 })).toMatchObject({ status: 412, body: { code: 'revision-conflict' } });
    const second = await call('PUT', '/cas', { workers: 2 }, { 'if-match': first.etag });
    expect(second.status).toBe(200);
    for (const [method, body] of [
      ['PUT', { workers: 3 }],
      ['PATCH', { workers: 3 }],
      ['DELETE', undefined],
    ] as const)
      expect(await call(method, '/cas', body, { 'if-match': first.etag }), method).toMatchObject({ status: 412 });
    expect(await call('PATCH', '/cas', { workers: 3 }, { 'if-match': 'W/nonsense' })).toMatchObject({ status: 400 });
    expect((await call('GET', '/cas')).body).toMatchObject({ definition: { workers: 2 } });
  });

  it('PATCH changes what it names, null removes it, and concurrent ones all count', async () => {
    await call('PUT', '/patched', { workers: 1, description: 'before', limits: { concurrency: 5, rate: { count: 30 } } });
    const patched = await call('PATCH', '/patched', { description: null, limits: { concurrency: 7 } });
    expect(patched.body.definition).toEqual({ name: 'patched', workers: 1, limits: { concurrency: 7 } });
    const fields: Json[] = [{ workers: 9 }, { maxDepth: 99 }, { mode: 'strict' }, { lease: '20s' }];
    const answers = await Promise.all(fields.map((body) => call('PATCH', '/patched', body)));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect((await call('GET', '/patched')).body.definition).toMatchObject(Object.assign({}, ...fields));
    expect(await call('PATCH', '/nowhere', { workers: 1 })).toMatchObject({ status: 404, body: { code: 'unknown-queue' } });
  });

  it('tells all that is wrong, by field; a definition that no server can have changes nothing', async () => {
    const wrong = await call('PUT', '/mail', { workers: 0, lease: 'banana', priorty: 1, sla: { warning: '9s', critical: '5s' } });
    expect(wrong.status).toBe(400);
    expect((wrong.body.errors as { path: string }[]).map(({ path }) => path).sort()).toEqual([
      'lease',
      'priorty',
      'sla.critical',
      'workers',
    ]);
    expect(await call('PUT', '/other', { name: 'mail' })).toMatchObject({ status: 400 });
    const before = await call('GET', '/mail');
    const refused = await call('PATCH', '/mail', { replicas: 3 });
    expect(refused.status).toBe(502);
    expect(String(refused.body.detail)).toMatch(/replicas/);
    expect((await call('GET', '/mail')).body.definition).toEqual(before.body.definition);
    expect(await call('PUT', '/impossible', { replicas: 5 })).toMatchObject({ status: 502 });
    expect(await call('GET', '/impossible')).toMatchObject({ status: 404 });
  });

  it('shows what it was, and the audit who did it', async () => {
    await call('PUT', '/past', { workers: 1 });
    await call('PATCH', '/past', { workers: 2 });
    await call('DELETE', '/past');
    const { items } = (await call('GET', '/past/history')).body as { items: { definition: Json | null; at: number }[] };
    expect(items.map(({ definition }) => definition?.workers ?? null)).toEqual([null, 2, 1]);
    expect(items[0]!.at).toBeGreaterThanOrEqual(items[1]!.at);
    const bucket = await JsonBucket.open<AuditEntry>(connection, connection.names.bucket('audit'), 1);
    const told = (await bucket.all()).map(({ value }) => value).filter(({ target }) => target === 'past');
    told.sort((a, b) => a.at - b.at);
    expect(told.map(({ command }) => command)).toEqual(['queues.put', 'queues.patch', 'queues.delete']);
    expect(told[1]).toMatchObject({ caller: expect.stringContaining('http'), before: { workers: 1 }, after: { workers: 2 } });
  });

  it('DELETE refuses a queue with tasks or timers, unless forced; what is gone is unknown', async () => {
    await call('PUT', '/doomed', {});
    await eventually('the gateway knows it', async () => (await enqueue('doomed', 'later', 3600)) === 202);
    expect(await call('DELETE', '/doomed')).toMatchObject({ status: 409, body: { code: 'queue-not-empty' } });
    expect(await enqueue('doomed', 'now')).toBe(202);
    const refused = await call('DELETE', '/doomed');
    expect(String(refused.body.detail)).toContain('1 tasks and 1 timers');
    expect(await enqueue('doomed', 'still')).toBe(202);
    expect(await call('DELETE', '/doomed?force=true')).toMatchObject({ status: 200, body: { queue: 'doomed', dropped: 3 } });
    expect(await call('GET', '/doomed')).toMatchObject({ status: 404 });
    expect(await call('DELETE', '/doomed')).toMatchObject({ status: 404 });
    await eventually('the gateway knows that too', async () => (await enqueue('doomed', 'late')) === 404);
    const { streams } = await connection.admin();
    for (const lane of LANES) await expect(streams.info(connection.names.lane('doomed', lane).stream)).rejects.toThrow('stream not found');
  });

  it('PATCH of the storage moves what waits', async () => {
    await call('PUT', '/moved', {});
    await eventually('the gateway knows it', async () => (await enqueue('moved', 'first')) === 202);
    expect(await call('PATCH', '/moved', { storage: 'memory' })).toMatchObject({
      status: 200,
      body: { definition: { storage: 'memory' } },
    });
    expect(await laneConfig('moved')).toMatchObject({ storage: 'memory' });
    expect(await enqueue('moved', 'second')).toBe(202);
    expect(manager.stats('moved').length).toBe(1);
    expect(await call('DELETE', '/moved')).toMatchObject({ status: 409, body: { detail: expect.stringContaining('2 tasks') } });
  });

  it('paused stops the lanes, and false lets them go on', async () => {
    await call('PUT', '/held', { paused: true });
    await eventually('paused', () => manager.stats('held')[0]?.paused === true);
    await call('PATCH', '/held', { paused: false });
    await eventually('resumed', () => manager.stats('held')[0]?.paused === false);
  });
});
