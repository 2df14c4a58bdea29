import { leaderGet, type StoredMessage } from '@jetlane/jetstream';
import { HEADER, headerValue } from '@jetlane/protocol';
import { METRICS } from '@jetlane/telemetry';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Collector } from '../support/collector.js';
import { eventually } from '../support/wait-until.js';
import { type Json, PATIENCE, purchase, SERVICE_NAMES, Site } from './platform-fixture.js';
import { type Headers, noise, parsePrometheus, Stranger, throwAt } from './platform-stranger.js';

const PURCHASE: Headers = [[HEADER.type, 'credit_purchase']];
const json = JSON.stringify;
const filler = (bytes: number): [string, string][] => Array.from({ length: bytes / 1000 }, (_, i) => [`X-Filler-${i}`, 'x'.repeat(980)]);
let site: Site;
let collector: Collector;
let stranger: Stranger;
let before: Json;

beforeAll(async () => {
  collector = await Collector.start();
  site = await Site.start({ env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_BSP_SCHEDULE_DELAY: '100' } });
  stranger = await Stranger.connect(site.platform.urls.nats);
  before = site.lives();
});
afterAll(async () => {
  await stranger?.close();
  await site?.stop();
  await collector?.stop();
});

describe("a stranger's NATS client", () => {
  const submit = (key: string, body: string | Uint8Array, headers: Headers = [], statusLine?: number) =>
    stranger.store(`tasks.default.high.${key}`, body, headers, statusLine);

  it('gets its task done and visible, with the time of every hop', async () => {
    const sentAt = Date.now();
    const ack = await submit('ada-1', json({ user_id: 'ada', amount: 25 }), PURCHASE);
    expect(ack).toMatchObject({ stream: 'tasks_default_high', seq: expect.any(Number) });
    const task = await site.reaches('default.ada-1', 'completed');
    expect(task).toMatchObject({ task_type: 'credit_purchase', lane: 'high', attempt: 1, hop: 1, result: { balance: 25 } });
    const { stored, fetched, started, finished } = task.at as Record<string, number>;
    const times = [sentAt, stored, fetched, started, finished, Date.now()];
    expect(times).toEqual([...times].sort((a, b) => Number(a) - Number(b)));
    expect(await site.balance('ada')).toBe(25);
  });

  const dead: [what: string, key: string, body: string | Uint8Array, headers: Headers, reason: string][] = [
    ['no type', 'd-type', '{}', [], 'no-type'],
    ['bytes without a content type', 'd-bytes', noise(5000), PURCHASE, 'undecodable-payload'],
    [
      'bytes for a handler that wants JSON',
      'd-typed',
      noise(5000),
      [...PURCHASE, ['Content-Type', 'application/octet-stream']],
      'invalid-argument',
    ],
    ['JSON that is cut off', 'd-cut', '{"user_id":', PURCHASE, 'undecodable-payload'],
    ['JSON of another shape', 'd-shape', '[[[1]]]', PURCHASE, 'invalid-argument'],
    ['JSON nested without end', 'd-deep', '['.repeat(200_000), PURCHASE, 'undecodable-payload'],
    ['no payload', 'd-empty', '', PURCHASE, 'invalid-argument'],
    ['a hop that is no number', 'd-hop', '{}', [...PURCHASE, ['Task-Hop', 'abc']], 'invalid-headers'],
    ['an attempt below one', 'd-attempt', '{}', [...PURCHASE, ['Task-Attempt', '-1']], 'invalid-headers'],
    ['a time that is none', 'd-time', '{}', [...PURCHASE, ['Task-Created-At', 'yesterday']], 'invalid-headers'],
    ['a timeout beyond all numbers', 'd-timeout', '{}', [...PURCHASE, ['Task-Timeout', '1e999']], 'invalid-headers'],
    ['65 KB of headers', 'd-headers', '{}', filler(65_000), 'no-type'],
    [
      'a type of 40 KB',
      'd-longtype',
      '{}',
      [
        [HEADER.type, 'x'.repeat(40_000)],
        ['Task-Retry', 'attempts=1'],
      ],
      'no-handler',
    ],
    [
      'a history that is none',
      'd-errors',
      '{}',
      [
        ['Task-Errors', '{"attempt":'],
        ['Task-Retry', '=,='],
      ],
      'no-type',
    ],
  ];
  it.each(dead)('%s: a dead letter that tells why, visible', async (_what, key, body, headers, reason) => {
    await submit(key, body, headers);
    expect(await site.reaches(`default.${key}`, 'dead')).toMatchObject({ reason, lane: 'high', at: { stored: expect.any(Number) } });
    const letter = await read('deadLetters', key);
    expect(letter && headerValue(letter.headers, HEADER.deadReason)).toBe(reason);
    expect(Buffer.from(letter!.data).equals(Buffer.from(body))).toBe(true);
  });

  const odd: [what: string, headers: Headers, statusLine?: number][] = [
    ['64 KB of headers', [...PURCHASE, ...filler(65_000)]],
    ['a trace that is none', [...PURCHASE, ['traceparent', '"},"x":"'], ['tracestate', '\u0001=,,=']]],
    ['a group with quotes and unicode', [...PURCHASE, ['Task-Group', '"},{"ключ🔑']]],
    ["the server's own words", [...PURCHASE, ['Nats-Sequence', '1'], ['Nats-Subject', 'x'], ['Nats-Pending-Messages', '9']]],
    ['a status line', PURCHASE, 503],
  ];
  it.each(odd)('%s: done', async (what, headers, statusLine) => {
    const key = `o-${what.length}`;
    await submit(key, json({ user_id: 'odd', amount: 1 }), headers, statusLine);
    expect(await site.reaches(`default.${key}`, 'completed')).toMatchObject({ result: { credited: 1 } });
  });

  const KEYS = ['a"b\'c', 'ключ-🔑', '{"a":1}', '\\u0000', 'a*b', 'a>b', '%2e%2e', '$JS', `';DROP--`, 'k'.repeat(1000)];
  it.each(KEYS.map((key) => [key.slice(0, 20), key] as const))('a key that only NATS allows is settled: %s', async (_name, key) => {
    const record = async (of: string) => JSON.parse(Buffer.from((await read('taskStates', of))?.data ?? '{}').toString()) as Json;
    const settled = (of: string, state: string) =>
      eventually(`${of} becomes ${state}`, async () => (await record(of)).state === state, PATIENCE);
    await submit(key, json({ user_id: 'strange', amount: 1 }), PURCHASE);
    await submit(`${key}-dead`, '{}');
    // Goes round by a timer and the scheduler before it is given up.
    await submit(`${key}-retry`, '{}', [
      [HEADER.type, 'nobody_knows'],
      ['Task-Retry', 'attempts=2,initialDelay=50ms'],
    ]);
    await settled(key, 'completed');
    await settled(`${key}-dead`, 'dead');
    await settled(`${key}-retry`, 'dead');
    expect(await record(`${key}-retry`)).toMatchObject({ reason: 'no-handler', attempt: 2, hop: 2 });
    expect(await site.get(`/api/queue/status/default.${encodeURIComponent(key)}`)).toMatchObject({
      status: 400,
      body: { code: 'invalid-argument' },
    });
  });

  it('more than 64 KB of headers are refused by the server: nothing is stored', async () => {
    await expect(submit('too-many', '{}', filler(70_000))).rejects.toThrow(/refused.*header/);
    expect((await site.get('/api/queue/status/default.too-many')).status).toBe(404);
  });

  it('a task that outgrows its lane while it is retried is a dead letter, not lost', async () => {
    const body = json('x'.repeat(1_048_576 + 65_000));
    await submit('grows', body, [
      [HEADER.type, 'nobody_knows'],
      ['Task-Retry', 'attempts=3,initialDelay=50ms'],
    ]);
    expect(await site.reaches('default.grows', 'dead')).toMatchObject({ reason: 'payload-too-large' });
    expect(Buffer.from((await read('deadLetters', 'grows'))!.data).toString()).toBe(body);
  });

  it('garbage on every subject of the platform: no process dies, nothing is lost', async () => {
    const bodies = ['', 'null', '[]', '{"', '{"hop":1}', json({ queue: 'default', worker: 'x', lanes: { high: null } }), noise(300)];
    const streams = ['schedules.default.g', 'schedules.a.b.c', 'due.default.high.fired', 'due.g', 'due.x.y.z.u', 'due.nowhere.high.g'];
    streams.push('states.default.g', 'states.g.h.i', 'dead.default.g', 'dead.g', 'metrics.default.g', 'metrics.default._base', 'metrics.g');
    streams.push('$KV.queues.garbage', '$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.x.workers');
    for (const subject of streams) for (const body of bodies) await stranger.store(subject, body);
    await stranger.store('$KV.queues.wrong', json({ name: 'wrong', lease: 'never', workers: -1 }));
    await stranger.store('dead.default.h', '', [
      ['Task-Hop', 'x'],
      ['Task-Dead-Error', '{'],
      ['Task-Errors', '[1]'],
      ['Task-Dead-Source', ':'],
    ]);
    await stranger.store('due.default.low.real', json({ user_id: 'due', amount: 4 }), PURCHASE);
    const listeners = [
      'heartbeats.default.g',
      'heartbeats.ping',
      'svc.queue-manager.stats',
      'svc.analytics.stats',
      'svc.resiliency.dead-letters.redrive',
    ];
    for (const subject of listeners) for (const body of bodies) stranger.tell(subject, body, 'nobody.listens.here');

    await site.reaches('default.real', 'completed');
    // What cannot be a task is passed over; what can be one, though it names no type, is given up in the open.
    await site.reaches('default.fired', 'dead');
    for (const key of ['g', 'h', 'fired', 'real']) expect((await site.get(`/api/queue/status/default.${key}`)).status).toBe(200);
    await site.missing('default');
    const settled = async () => (await site.stats('default')).queue.depth === 0;
    await eventually('every lane is empty', settled, PATIENCE);
    await site.expectWork();
    expect((await site.enqueue(purchase('after', 1, { task_id: 'g2' }), '?wait=30s')).body.state).toBe('completed');
    for (const name of SERVICE_NAMES) await eventually(`${name} is ready`, () => site.service(name).isReady(), PATIENCE);
    expect(site.lives()).toEqual(before);
  });

  it("a key whose record is a stranger's garbage can still be used", async () => {
    await stranger.store('states.default.spoilt', noise(100));
    const task = purchase('spoilt', 2, { task_id: 'spoilt' });
    expect((await site.enqueue(task, '?wait=30s')).body).toMatchObject({ state: 'completed', duplicate: false });
    expect((await site.enqueue(task)).body).toMatchObject({ state: 'completed', duplicate: true });
    expect(await site.balance('spoilt')).toBe(2);
  });

  const read = (stream: 'deadLetters' | 'taskStates', key: string): Promise<StoredMessage | undefined> => {
    const { names } = site.connection;
    return leaderGet(site.connection, names[stream], stream === 'taskStates' ? names.state('default', key) : names.dead('default', key));
  };
});

describe('a hostile HTTP caller', () => {
  const task = (over: Json): string => json({ queue_name: 'default', task_type: 'count', task_data: { collection: 'users' }, ...over });
  const long = 'x'.repeat(2_000_000);
  const bodies: [body: string, status: number, code: string, type?: string][] = [
    ['', 400, 'invalid-json'],
    ['{"queue_name":', 400, 'invalid-json'],
    ['['.repeat(500_000), 400, 'invalid-json'],
    ['{"__proto__":{"admin":true},"queue_name":"default","task_type":"count"}', 400, 'invalid-json'],
    ['null', 400, 'invalid-argument'],
    [task({ queue_name: '../../etc' }), 400, 'invalid-argument'],
    [task({ queue_name: 'nowhere' }), 404, 'unknown-queue'],
    [task({ task_type: 'a\r\nTask-Hop: 9' }), 400, 'invalid-argument'],
    [task({ task_id: 'a.b.>' }), 400, 'invalid-argument'],
    [task({ priority: 99 }), 400, 'invalid-argument'],
    [task({ delay: 1e300 }), 400, 'invalid-argument'],
    [task({ task_data: long }), 413, 'payload-too-large'],
    [task({}), 415, 'unsupported-media-type', 'text/html'],
  ];
  const paths: [method: string, path: string, status: number, code: string][] = [
    ['GET', '/api/queue/status/default.%00', 400, 'invalid-argument'],
    ['GET', '/api/queue/status/%ff%fe', 400, 'invalid-argument'],
    ['GET', `/api/queue/status/${'a'.repeat(5000)}`, 400, 'invalid-argument'],
    ['GET', '/api/queue/status/default.nobody', 404, 'task-not-found'],
    ['GET', '/api/queue/stats/nowhere', 404, 'unknown-queue'],
    ['GET', '/../../etc/passwd', 404, 'unknown-route'],
    ['DELETE', '/api/queue/stats', 404, 'unknown-route'],
    ['POST', '/metrics', 404, 'unknown-route'],
  ];
  const raw = [
    '\x16\x03\x01\x02\x00',
    'GET',
    'GET / HTTP/9.9\r\n\r\n',
    `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`,
  ];
  raw.push('POST /api/queue/enqueue HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"que');

  async function enqueued(): Promise<number> {
    const samples = parsePrometheus((await site.get('/metrics')).text);
    const of = samples.find(
      ({ name, labels }) => name === 'jetlane_tasks_enqueued_total' && labels.queue === 'default' && labels.lane === 'normal',
    );
    return of?.value ?? 0;
  }

  it('gets typed answers, and everything goes on as before', async () => {
    for (const [body, status, code, type = 'application/json'] of bodies) {
      const answer = await site.post('/api/queue/enqueue', body, { 'content-type': type });
      expect([answer.status, answer.body.code], body.slice(0, 80)).toEqual([status, code]);
    }
    for (const [method, path, status, code] of paths) {
      const answer = await site.call(method, path);
      expect([answer.status, answer.body.code], `${method} ${path.slice(0, 80)}`).toEqual([status, code]);
    }
    const lines = `{"queue_name":"default"\n${task({})}\n\n[]\n${task({ queue_name: 'nowhere' })}\n${task({ task_data: long })}`;
    const counted = await enqueued();
    const batch = await site.post('/api/queue/enqueue/batch', lines, { 'content-type': 'application/x-ndjson' });
    expect(batch).toMatchObject({ status: 202, body: { accepted: 1, failed: 4 } });
    expect((await enqueued()) - counted).toBe(1);
    for (const bytes of raw) await Promise.all(SERVICE_NAMES.map((name) => throwAt(site.service(name).port, bytes)));
    for (const name of SERVICE_NAMES) expect((await site.get('/health/ready', site.service(name).url)).status, name).toBe(200);
    await site.expectWork();
    expect(site.lives()).toEqual(before);
  });
});

describe('an ordinary HTTP caller', () => {
  it('delay: runs when its time has come, not before and not much later', async () => {
    const { body } = await site.enqueue(purchase('late', 1, { delay: 1.5 }), '?wait=30s');
    const { created, started } = body.at as Record<string, number>;
    expect(body.state).toBe('completed');
    expect(started! - created!).toBeGreaterThanOrEqual(1500);
    expect(started! - created!).toBeLessThan(6000);
  });

  it('wait: the outcome when it comes in time, else the receipt', async () => {
    const done = await site.enqueue(purchase('wait', 3), '?wait=30s');
    expect(done).toMatchObject({ status: 200, body: { state: 'completed', duplicate: false, result: { balance: 3 } } });
    const failed = await site.enqueue({ task_type: 'credit_purchase', task_data: { user_id: 'wait', amount: -1 } }, '?wait=30s');
    expect(failed).toMatchObject({ status: 200, body: { state: 'dead', reason: 'invalid-argument' } });
    const slow = await site.enqueue(purchase('wait', 4, { delay: 60 }), '?wait=100ms');
    expect(slow).toMatchObject({ status: 202, body: { state: 'scheduled' } });
  });

  it('task_id: the same request again is the same task, another payload under it a conflict', async () => {
    const task = purchase('twice', 10, { task_id: 'order-7' });
    const answers = await Promise.all([1, 2, 3, 4, 5].map(() => site.enqueue(task)));
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 202, 202]);
    expect(answers.filter(({ body }) => !body.duplicate)).toHaveLength(1);
    await site.reaches('default.order-7', 'completed');
    expect((await site.enqueue(task)).body).toMatchObject({ task_id: 'default.order-7', state: 'completed', duplicate: true });
    const other = await site.enqueue(purchase('twice', 11, { task_id: 'order-7' }));
    expect(other).toMatchObject({ status: 409, body: { code: 'idempotency-conflict' } });
    expect(await site.balance('twice')).toBe(10);
    expect(await site.purchases('twice')).toEqual(['default.order-7']);
  });
});

it('one trace leads from the caller through the gateway to the worker', async () => {
  const [traceId, caller] = ['4bf92f3577b34da6a3ce929d0e0e4736', '00f067aa0ba902b7'];
  const { body } = await site.enqueue(purchase('traced', 1), '?wait=30s', { traceparent: `00-${traceId}-${caller}-01` });
  expect(body).toMatchObject({ state: 'completed', trace_id: traceId });
  expect((await site.task(body.task_id)).trace_id).toBe(traceId);
  const ours = () => collector.spans.filter((span) => span.traceId === traceId);
  await eventually('all three spans have arrived', () => ours().length >= 3, PATIENCE);
  const names = ['POST /api/queue/enqueue', 'send default', 'process default'];
  const [request, send, process] = names.map((name) => ours().find((span) => span.name === name)!);
  expect(request).toMatchObject({ service: 'jetlane-gateway', parentSpanId: caller });
  expect(send).toMatchObject({ service: 'jetlane-gateway', parentSpanId: request!.spanId });
  expect(process).toMatchObject({ service: 'jetlane-worker', parentSpanId: send!.spanId });
  for (const span of [send, process]) {
    const names = { 'messaging.destination.name': 'default', 'messaging.message.id': body.task_id, 'jetlane.task.type': 'credit_purchase' };
    expect(span!.attributes).toMatchObject(names);
  }
  expect(process!.attributes['jetlane.task.outcome']).toBe('completed');
  expect([...collector.types]).toEqual(['POST /v1/traces application/json']);
});

describe.each(SERVICE_NAMES)('%s', (name) => {
  it('answers its probes and shows its metrics', async () => {
    const { url } = site.service(name);
    expect(await site.get('/health/live', url)).toMatchObject({ status: 200, body: { status: 'ok' } });
    expect(await site.get('/health/ready', url)).toMatchObject({ status: 200, body: { status: 'ok', info: { nats: { status: 'up' } } } });
    // Probes and scrapes are not measured; this is.
    expect((await site.get('/no-such-route', url)).status).toBe(404);
    const { status, text } = await site.get('/metrics', url);
    expect(status).toBe(200);
    const samples = parsePrometheus(text);
    const wanted = Object.values(METRICS).filter(({ from }) => from === 'every service' || from === name);
    for (const metric of wanted) {
      // A counter without a sample has nothing counted yet; nobody died of exhausted deliveries here.
      if (metric.name === METRICS.deadLetters.name) continue;
      const suffix = { counter: '_total', gauge: '', histogram: '_count' }[metric.type];
      const found = samples.filter((sample) => sample.name === metric.name + suffix);
      expect(found, metric.name).not.toEqual([]);
      const labels = metric.labels.map((label) => label.replaceAll('.', '_'));
      for (const sample of found) expect(Object.keys(sample.labels)).toEqual(expect.arrayContaining(labels));
    }
  });
});
