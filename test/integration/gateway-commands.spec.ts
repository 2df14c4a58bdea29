import { serveRegistered } from '@jetlane/nestjs/service';
import { defineCommand, QUEUE_COMMANDS, queueField, WrongSequenceError } from '@jetlane/protocol';
import { type FastifyInstance, fastify } from 'fastify';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type Caller, localCaller } from '../../apps/gateway/src/access/caller.js';
import { sendProblem } from '../../apps/gateway/src/http/error-handler.js';
import { openApiDocument } from '../../apps/gateway/src/openapi/document.js';
import { commandRoutes } from '../../apps/gateway/src/routes/commands.js';
import type { ApiRoute, Gateway } from '../../apps/gateway/src/routes/route.js';
import { GatewayFixture, type Json } from './gateway-fixture.js';

const common = { service: 'analytics', tag: 'things', summary: 'A thing', description: 'A thing.', problems: [] } as const;
const thing = z.object({ queue: z.string(), text: z.string(), revision: z.int() });

/** Commands as areas of the platform define them, for what those of the registry do not all have. */
const GET = defineCommand({
  ...common,
  name: 'things.get',
  scope: 'read',
  input: z.strictObject({ queue: queueField, deep: z.stringbool().optional() }),
  output: thing,
  http: { method: 'GET', path: '/things/{queue}', revisions: true },
});
const PUT = defineCommand({
  ...common,
  name: 'things.put',
  scope: 'admin',
  input: z.strictObject({
    queue: queueField,
    text: z.string(),
    about: z.unknown().optional(),
    revision: z.int().optional(),
    idempotency_key: z.string().optional(),
  }),
  output: thing,
  http: { method: 'PUT', path: '/things/{queue}', status: 201, revisions: true },
});
const MOVE = defineCommand({
  ...common,
  name: 'things.move',
  scope: 'operate',
  input: z.strictObject({
    queue: queueField,
    toQueue: queueField.optional(),
    to: z.array(z.strictObject({ queue_name: queueField })).optional(),
  }),
  output: z.object({ moved: z.int() }),
  http: { method: 'POST', path: '/things/{queue}/move', status: 202 },
});
const LIST = defineCommand({
  ...common,
  name: 'things.list',
  scope: 'read',
  input: z.strictObject({ text: z.string().optional() }),
  output: z.object({ items: z.array(thing) }),
  http: { method: 'GET', path: '/things' },
});

let gateway: GatewayFixture;
let routes: ApiRoute[];
let app: FastifyInstance;
let caller: Caller;
let seen: { input: unknown; caller: string }[];
let current: z.output<typeof thing>;
const stops: (() => void)[] = [];

function serveThings(): void {
  const note = (input: unknown, by: string): void => void seen.push({ input, caller: by });
  const { admin } = gateway;
  stops.push(
    serveRegistered(admin, GET, async (input, by) => {
      note(input, by);
      return current;
    }),
    serveRegistered(admin, PUT, async (input, by) => {
      note(input, by);
      if (input.revision !== undefined && input.revision !== current.revision) throw new WrongSequenceError('things.a');
      current = { queue: input.queue, text: input.text, revision: current.revision + 1 };
      return current;
    }),
    serveRegistered(admin, MOVE, async (input, by) => {
      note(input, by);
      return { moved: 1 };
    }),
  );
}

beforeAll(async () => {
  gateway = await GatewayFixture.start();
  const logger = pino({ level: 'silent' });
  const broker = { assertAnswering: () => undefined };
  routes = commandRoutes({ connection: gateway.admin, broker } as unknown as Gateway, [GET, PUT, MOVE, LIST]);
  app = fastify();
  app.decorateRequest('caller', null as unknown as Caller);
  app.addHook('onRequest', async (request) => {
    request.caller = caller;
  });
  app.setErrorHandler((error, request, reply) => sendProblem(error, request, reply, logger));
  for (const { method, path, url, handler } of routes) app.route({ method, url: url ?? path, handler });
  serveThings();
  await gateway.admin.flush();
});

beforeEach(() => {
  caller = localCaller('127.0.0.1');
  seen = [];
  current = { queue: 'default', text: 'first', revision: 7 };
});

afterAll(async () => {
  for (const stop of stops) stop();
  await app.close();
  await gateway.stop();
});

async function ask(method: 'GET' | 'PUT' | 'POST', url: string, body?: object, headers: Record<string, string> = {}) {
  const answer = await app.inject({ method, url: `/api/v1${url}`, headers, ...(body ? { payload: body } : {}) });
  return {
    status: answer.statusCode,
    headers: answer.headers,
    text: answer.body,
    body: (answer.body ? JSON.parse(answer.body) : {}) as Json,
  };
}

describe('a command over HTTP', () => {
  it('takes its input from path and query or body, under the names of its fields, and names its caller', async () => {
    caller = { ...localCaller('x'), name: 'key ops' };
    expect((await ask('GET', '/things/default?deep=true')).body).toEqual(current);
    expect((await ask('PUT', '/things/default', { text: 'next' })).status).toBe(201);
    expect(seen).toEqual([
      { input: { queue: 'default', deep: true }, caller: 'key ops' },
      { input: { queue: 'default', text: 'next' }, caller: 'key ops' },
    ]);
  });

  it.each([
    ['GET', '/things/UPPER', undefined, 'queue'],
    ['GET', '/things/default?depp=1', undefined, 'depp'],
    ['PUT', '/things/default', {}, 'text'],
    ['PUT', '/things/default', [], ''],
    ['PUT', '/things/default', { text: 'x', queue: 'other' }, 'queue'],
  ] as const)('%s %s %j is refused by the name of its field', async (method, url, body, field) => {
    const { status, body: problem } = await ask(method, url, body as object | undefined);
    expect([status, problem.code]).toEqual([400, 'invalid-argument']);
    expect((problem.errors as Json[])[0]?.path).toBe(field);
    expect(seen).toEqual([]);
  });

  it('is refused when it nests too deep for those who read it', async () => {
    const payload = `{"text":"x","about":${'['.repeat(5000)}${']'.repeat(5000)}}`;
    const headers = { 'content-type': 'application/json' };
    const answer = await app.inject({ method: 'PUT', url: '/api/v1/things/default', headers, payload });
    expect([answer.statusCode, answer.json().detail]).toEqual([400, 'body: nested deeper than 100 levels']);
    expect(seen).toEqual([]);
  });

  it('is 503 when its service is not there', async () => {
    const { status, body } = await ask('GET', '/things');
    expect([status, body.code]).toEqual([503, 'service-unavailable']);
  });
});

describe('revisions', () => {
  it('are sent as ETag; who has it already gets 304 without a body', async () => {
    const first = await ask('GET', '/things/default');
    expect(first.headers.etag).toBe('"7"');
    for (const known of ['"7"', 'W/"7"', '"5", "7"', '*']) {
      const again = await ask('GET', '/things/default', undefined, { 'if-none-match': known });
      expect([again.status, again.text, again.headers.etag]).toEqual([304, '', '"7"']);
    }
    expect((await ask('GET', '/things/default', undefined, { 'if-none-match': '"6"' })).status).toBe(200);
  });

  it('may be given as If-Match: 412 when the record has another one', async () => {
    const good = await ask('PUT', '/things/default', { text: 'next' }, { 'if-match': '"7"' });
    expect([good.status, good.headers.etag, good.body.revision]).toEqual([201, '"8"', 8]);
    const late = await ask('PUT', '/things/default', { text: 'late' }, { 'if-match': '"7"' });
    expect([late.status, late.body.code]).toEqual([412, 'revision-conflict']);
    expect((await ask('PUT', '/things/default', { text: 'any' }, { 'if-match': '*' })).status).toBe(201);
    expect((await ask('PUT', '/things/default', { text: 'new' }, { 'if-none-match': '*' })).status).toBe(409);
    expect(seen.at(-1)?.input).toMatchObject({ revision: 0 });
  });

  it('in the body are a 409 when they lose', async () => {
    const { status, body } = await ask('PUT', '/things/default', { text: 'late', revision: 3 });
    expect([status, body.code, body.retryable]).toEqual([409, 'wrong-sequence', true]);
  });

  it.each(['7', 'W/"7"', '"7", "8"', '"x"', '""'])('If-Match: %s is refused', async (value) => {
    const { status, body } = await ask('PUT', '/things/default', { text: 'x' }, { 'if-match': value });
    expect([status, body.code]).toEqual([400, 'invalid-argument']);
    expect(seen).toEqual([]);
  });

  it('may not differ between header and body', async () => {
    expect((await ask('PUT', '/things/default', { text: 'x', revision: 8 }, { 'if-match': '"7"' })).status).toBe(400);
    expect((await ask('PUT', '/things/default', { text: 'x', revision: 7 }, { 'if-match': '"7"' })).status).toBe(201);
  });
});

describe('Idempotency-Key', () => {
  it('fills the field of a command that has one', async () => {
    await ask('PUT', '/things/default', { text: 'x' }, { 'idempotency-key': '"once"' });
    expect(seen[0]?.input).toEqual({ queue: 'default', text: 'x', idempotency_key: 'once' });
    expect((await ask('PUT', '/things/default', { text: 'x', idempotency_key: 'a' }, { 'idempotency-key': 'b' })).status).toBe(400);
  });

  it('is the task_id of an enqueue', async () => {
    const task = { queue_name: 'default', task_type: 'noop', task_data: 1 };
    const first = await gateway.enqueue(task, { 'idempotency-key': 'order-1' });
    expect([first.status, first.body.task_id, first.body.duplicate]).toEqual([202, 'default.order-1', false]);
    expect((await gateway.enqueue({ ...task, task_id: 'order-1' }, { 'idempotency-key': '"order-1"' })).body.duplicate).toBe(true);
    expect((await gateway.enqueue({ ...task, task_data: 2 }, { 'idempotency-key': 'order-1' })).status).toBe(409);
    expect((await gateway.enqueue({ ...task, task_id: 'order-2' }, { 'idempotency-key': 'order-1' })).status).toBe(400);
    expect((await gateway.enqueue(task, { 'idempotency-key': 'a b' })).status).toBe(400);
    const example = { user_id: 'u', delta: 1 };
    for (const duplicate of [false, true])
      expect((await gateway.post('/api/queue/example/credit-update', example, { 'idempotency-key': 'pay-1' })).body.duplicate).toBe(
        duplicate,
      );
    const batch = await gateway.post('/api/queue/enqueue/batch', [task], { 'idempotency-key': 'order-3' });
    expect([batch.status, batch.body.code]).toEqual([400, 'invalid-argument']);
  });
});

describe('a caller who is limited to queues', () => {
  beforeEach(() => {
    caller = { ...localCaller('x'), name: 'key narrow', queues: new Set(['default']) };
  });

  it('may name its own queues only, in every field that names one', async () => {
    expect((await ask('GET', '/things/default')).status).toBe(200);
    expect((await ask('GET', '/things/other')).status).toBe(403);
    for (const [queue, status] of [
      ['default', 202],
      ['other', 403],
    ] as const) {
      expect((await ask('POST', '/things/default/move', { toQueue: queue })).status).toBe(status);
      expect((await ask('POST', '/things/default/move', { to: [{ queue_name: queue }] })).status).toBe(status);
    }
  });

  it('may not use what concerns all queues, or sees its part where the command says which', async () => {
    const { status, body } = await ask('GET', '/things');
    expect([status, body.code]).toEqual([403, 'forbidden']);
    const items = ['default', 'other'].map((name) => ({ definition: { name }, revision: 1 }));
    expect(QUEUE_COMMANDS.list.visible?.({ items }, (queue) => queue === 'default')).toEqual({ items: [items[0]] });
  });
});

it('is described with its scope, its headers and its answers', () => {
  const document = openApiDocument(routes, true) as unknown as {
    paths: Record<string, Record<string, { responses: object; parameters: Json[] }>>;
  };
  const { get, put } = document.paths['/api/v1/things/{queue}']!;
  expect(Object.keys(get!.responses)).toEqual(expect.arrayContaining(['200', '304', '400', '401', '403', '429', '503']));
  expect(Object.keys(put!.responses)).toEqual(expect.arrayContaining(['201', '409', '412', '415']));
  const headers = put!.parameters.filter((parameter) => parameter.in === 'header').map(({ name }) => name);
  expect(headers).toEqual(['If-Match', 'Idempotency-Key']);
  expect(JSON.stringify(put)).toContain('Scope: `admin`');
});
