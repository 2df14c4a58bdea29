import { directGet } from '@jetlane/jetstream';
import { COMMANDS, headerValue, type Lane } from '@jetlane/protocol';
import { Worker } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GatewayFixture, type Json } from './gateway-fixture.js';

let gateway: GatewayFixture;
let worker: Worker;
const echo = async (data: unknown): Promise<unknown> => ({ echo: data });

beforeAll(async () => {
  gateway = await GatewayFixture.start();
  const fail = async (): Promise<never> => {
    throw Object.assign(new Error('no luck'), { secret: 'x' });
  };
  worker = new Worker(gateway.admin, { queue: 'typed', handlers: { echo, fail } });
  await worker.start();
});

afterAll(async () => {
  await worker.stop();
  await gateway.stop();
});

const task = (over: Json = {}): Json => ({ queue_name: 'default', task_type: 'noop', task_data: { n: 1 }, ...over });

async function stored(id: unknown, lane: Lane = 'normal') {
  const [queue, key] = String(id).split('.') as [string, string];
  return directGet(gateway.admin, gateway.admin.names.lane(queue, lane).stream, gateway.admin.names.task(queue, lane, key));
}

describe('POST /api/queue/enqueue', () => {
  it('stores the task and answers with its receipt', async () => {
    const { status, body, headers } = await gateway.enqueue(task({ priority: 'HIGH' }));
    expect(status).toBe(202);
    expect(body).toEqual({
      task_id: expect.stringMatching(/^default\.[\w-]{22}$/),
      queue_name: 'default',
      state: 'queued',
      duplicate: false,
    });
    expect(headers.get('x-request-id')).toBeTruthy();
    const message = await stored(body.task_id, 'high');
    expect(headerValue(message!.headers, 'Task-Type')).toBe('noop');
    expect(JSON.parse(Buffer.from(message!.data).toString())).toEqual({ n: 1 });
  });

  it.each([
    ['LOW', 'low'],
    [1, 'low'],
    ['Critical', 'critical'],
    [4, 'critical'],
    [undefined, 'normal'],
  ] as const)('puts priority %j into lane %s', async (priority, lane) => {
    const { body } = await gateway.enqueue(task({ priority }));
    expect(await stored(body.task_id, lane)).toBeDefined();
  });

  it.each([1.5, '90s', '0.5h'])('delays by %j', async (delay) => {
    const { status, body } = await gateway.enqueue(task({ delay }));
    expect([status, body.state]).toEqual([202, 'scheduled']);
    const looked = await gateway.get(`/api/queue/status/${body.task_id}`);
    expect(looked.body.state).toBe('scheduled');
    expect((looked.body.at as Json).scheduled_for).toBeGreaterThan(Date.now() - 1000);
  });

  it('takes task_id as an idempotency key', async () => {
    const first = await gateway.enqueue(task({ task_id: 'once-1' }));
    const again = await gateway.enqueue(task({ task_id: 'once-1' }));
    expect([first.body.duplicate, again.body.duplicate]).toEqual([false, true]);
    expect(again.body.task_id).toBe('default.once-1');
    const other = await gateway.enqueue(task({ task_id: 'once-1', task_data: { n: 2 } }));
    expect([other.status, other.body.code]).toEqual([409, 'idempotency-conflict']);
  });

  it('passes the trace of the caller on', async () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const { body } = await gateway.enqueue(task(), { traceparent });
    expect(headerValue((await stored(body.task_id))!.headers, 'traceparent')).toBe(traceparent);
  });

  it('needs a task type except where the queue has a default one', async () => {
    const without = await gateway.enqueue(task({ task_type: undefined }));
    expect([without.status, without.body.errors]).toEqual([400, [{ path: 'task_type', message: expect.any(String) }]]);
    expect((await gateway.enqueue(task({ queue_name: 'typed', task_type: undefined }))).status).toBe(202);
  });

  it('answers 429 with Retry-After when the queue is full', async () => {
    for (let i = 0; i < 2; i++) expect((await gateway.enqueue(task({ queue_name: 'tiny' }))).status).toBe(202);
    const { status, body, headers } = await gateway.enqueue(task({ queue_name: 'tiny' }));
    expect([status, body.code, body.retryable, headers.get('retry-after')]).toEqual([429, 'queue-full', true, '1']);
  });
});

describe('?wait=', () => {
  it('answers with the outcome', async () => {
    const { status, body } = await gateway.post(
      '/api/queue/enqueue?wait=5s',
      task({ queue_name: 'typed', task_type: 'echo', task_data: [1, 'ä'] }),
    );
    expect(status).toBe(200);
    expect(body).toMatchObject({
      state: 'completed',
      result: { echo: [1, 'ä'] },
      attempt: 1,
      duplicate: false,
      task_type: 'echo',
      lane: 'normal',
    });
    const { created, stored, fetched, started, finished } = body.at as Record<string, number>;
    expect([stored, fetched, started, finished].every((time) => Number(time) >= created! - 1000)).toBe(true);
  });

  it('answers with the error of a dead task, without its stack', async () => {
    const { status, body, text } = await gateway.post('/api/queue/enqueue?wait=5', task({ queue_name: 'typed', task_type: 'fail' }));
    expect([status, body.state]).toEqual([200, 'dead']);
    expect(body.error).toMatchObject({ message: 'no luck' });
    expect(text).not.toContain('stack');
    expect(text).not.toContain('gateway-routes.spec');
  });

  it('answers 202 when the wait ends first', async () => {
    const begin = performance.now();
    const { status, body } = await gateway.post('/api/queue/enqueue?wait=100ms', task());
    expect([status, body.state]).toEqual([202, 'queued']);
    expect(performance.now() - begin).toBeGreaterThan(90);
  });

  it.each(['soon', '-1s', ''])('refuses %j', async (wait) => {
    const { status, body } = await gateway.post(`/api/queue/enqueue?wait=${wait}`, task());
    expect([status, body.code, (body.errors as Json[])[0]!.path]).toEqual([400, 'invalid-argument', 'wait']);
  });

  it('refuses other parameters', async () => {
    const { body } = await gateway.post('/api/queue/enqueue?waitt=5s', task());
    expect(body.errors).toEqual([{ path: 'waitt', message: 'unknown field; did you mean "wait"?' }]);
  });
});

describe('GET /api/queue/status', () => {
  it('tells state, lane and hops of a task that waits', async () => {
    const { body } = await gateway.enqueue(task({ priority: 'low' }));
    const looked = await gateway.get(`/api/queue/status/${body.task_id}`);
    expect(looked.status).toBe(200);
    expect(looked.body).toMatchObject({
      task_id: body.task_id,
      state: 'queued',
      lane: 'low',
      attempt: 1,
      hop: 1,
      history: [],
      at: { created: expect.any(Number), stored: expect.any(Number) },
    });
  });

  it('takes ids of full length', async () => {
    const key = 'k'.repeat(128);
    await gateway.enqueue(task({ task_id: key }));
    expect((await gateway.get(`/api/queue/status/default.${key}`)).body.task_id).toBe(`default.${key}`);
  });

  it('answers 404 for an unknown task', async () => {
    const { status, body } = await gateway.get('/api/queue/status/default.nobody');
    expect([status, body.code]).toEqual([404, 'task-not-found']);
  });

  it.each([
    'default',
    '.x',
    'default.',
    'DEFAULT.x',
    'default.a.b',
    'default.%00',
    'default.%2e%2e%2fx',
    'default.*',
    `default.${'x'.repeat(129)}`,
  ])('answers 400 for %j', async (id) => {
    const { status, body } = await gateway.get(`/api/queue/status/${id}`);
    expect([status, body.code]).toEqual([400, 'invalid-argument']);
  });
});

describe('example routes', () => {
  it.each([
    ['credit-purchase', { user_id: 'u1', amount: 100, price: '9.99', currency: 'EUR' }, 'high_priority', 'high', 'credit_purchase'],
    ['user-registration', { user_id: 'u1', email: 'a@example.com' }, 'default', 'normal', 'user_registration'],
    ['credit-update', { user_id: 'u1', delta: -5 }, 'default', 'normal', 'credit_update'],
  ] as const)('%s enqueues its task', async (route, data, queue, lane, type) => {
    const { status, body } = await gateway.post(`/api/queue/example/${route}`, data);
    expect([status, body.queue_name]).toEqual([202, queue]);
    const message = await stored(body.task_id, lane);
    expect(headerValue(message!.headers, 'Task-Type')).toBe(type);
    expect(JSON.parse(Buffer.from(message!.data).toString())).toEqual(data);
  });

  it('takes the options of enqueue', async () => {
    const { body } = await gateway.post('/api/queue/example/credit-update', {
      user_id: 'u',
      set: 0,
      queue_name: 'low_priority',
      priority: 1,
      task_id: 'ex-1',
    });
    expect(body.task_id).toBe('low_priority.ex-1');
    expect(await stored(body.task_id, 'low')).toBeDefined();
  });

  it.each([
    ['credit-purchase', { user_id: 'u', amount: -1 }, 'amount'],
    ['credit-purchase', { user_id: '', amount: 1 }, 'user_id'],
    ['credit-purchase', { user_id: 'u', amount: 1.5 }, 'amount'],
    ['credit-purchase', { user_id: 'u', amout: 1 }, 'amount'],
    ['user-registration', { user_id: 'u', email: 'no' }, 'email'],
    ['credit-update', { user_id: 'u' }, ''],
    ['credit-update', { user_id: 'u', delta: 1, set: 1 }, ''],
  ])('%s refuses %j', async (route, data, path) => {
    const { status, body } = await gateway.post(`/api/queue/example/${route}`, data);
    expect([status, body.code]).toEqual([400, 'invalid-argument']);
    expect((body.errors as Json[]).map((error) => error.path)).toContain(path);
  });
});

describe('documentation', () => {
  it('describes every route and every problem code', async () => {
    const { body, text } = await gateway.get('/docs-json');
    expect(body.openapi).toBe('3.1.0');
    const commands = COMMANDS.map(({ http }) => `/api/v1${http.path}`);
    const paths = Object.keys(body.paths as Json);
    expect(paths).toEqual(expect.arrayContaining(commands));
    expect(paths.filter((path) => !commands.includes(path))).toEqual([
      '/api/queue/enqueue',
      '/api/queue/enqueue/batch',
      '/api/queue/status/{task_id}',
      '/api/queue/stats',
      '/api/queue/stats/{queue_name}',
      '/api/v1/dead-letters/export',
      '/api/v1/events',
      '/api/queue/example/credit-purchase',
      '/api/queue/example/user-registration',
      '/api/queue/example/credit-update',
    ]);
    for (const code of ['queue-full', 'idempotency-conflict', 'task-not-found']) expect(text).toContain(code);
    for (const ref of text.matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g))
      expect((body.components as { schemas: Json }).schemas).toHaveProperty(ref[1]!);
  });

  it('is served without any foreign file', async () => {
    const { status, text, headers } = await gateway.get('/docs');
    expect([status, headers.get('content-type')]).toEqual([200, expect.stringContaining('text/html')]);
    expect(text).not.toMatch(/(src|href)="(https?:)?\/\//);
    for (const file of ['swagger-ui.css', 'swagger-ui-bundle.js', 'swagger-ui-init.js'])
      expect((await gateway.get(`/docs/${file}`)).status).toBe(200);
  });
});
