import { randomBytes } from 'node:crypto';
import { bodyText, leaderGet } from '@jetlane/jetstream';
import { decodeHeaders, headerValue } from '@jetlane/protocol';
import { Worker } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Collector, type Span } from '../support/collector.js';
import { GatewayFixture } from './gateway-fixture.js';
import { eventually } from './services-fixture.js';

const DELAY = 'OTEL_BSP_SCHEDULE_DELAY';
const SERVER_KIND = 2;

let collector: Collector;
let gateway: GatewayFixture;
let worker: Worker;
const delay = process.env[DELAY];

beforeAll(async () => {
  // The SDK reads it by itself.
  process.env[DELAY] = '50';
  collector = await Collector.start();
  gateway = await GatewayFixture.start({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
  worker = new Worker(gateway.admin, { queue: 'typed', handlers: { echo: { handle: (data) => data } } });
  await worker.start();
});
afterAll(async () => {
  await worker?.stop();
  await gateway?.stop({ keepNats: true });
  await gateway?.nats.stop();
  await collector?.stop();
  if (delay === undefined) delete process.env[DELAY];
  else process.env[DELAY] = delay;
});

/** A caller with a trace of its own. */
function caller(flags = '01') {
  const [traceId, spanId] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')];
  const spans = (): Span[] => collector.spans.filter((span) => span.traceId === traceId);
  const named = (name: string): Span => {
    const found = spans().filter((span) => span.name === name);
    expect(
      found,
      spans()
        .map((span) => span.name)
        .join(', '),
    ).toHaveLength(1);
    return found[0]!;
  };
  return { traceId, spanId, headers: { traceparent: `00-${traceId}-${spanId}-${flags}` }, spans, named };
}

const task = (queue_name: string, more: object = {}) => ({ queue_name, task_type: 'echo', task_data: 1, ...more });

describe('a request to the API with an exporter', () => {
  it('is a server span below the caller, above the send and the run of its task', async () => {
    const { spanId, headers, spans, named } = caller();
    expect((await gateway.enqueue(task('typed'), { ...headers, tracestate: 'vendor=1' })).status).toBe(202);
    await eventually('all spans have come', () => spans().length === 4);
    const http = named('POST /api/queue/enqueue');
    expect(http).toMatchObject({
      kind: SERVER_KIND,
      parentSpanId: spanId,
      attributes: {
        'http.request.method': 'POST',
        'http.route': '/api/queue/enqueue',
        'http.response.status_code': 202,
        'url.path': '/api/queue/enqueue',
        'url.scheme': 'http',
      },
    });
    expect(http.status?.code ?? 0).toBe(0);
    const send = named('send typed');
    expect(send.parentSpanId).toBe(http.spanId);
    expect(named('process typed').parentSpanId).toBe(send.spanId);
    expect(BigInt(http.endTimeUnixNano) >= BigInt(send.endTimeUnixNano)).toBe(true);
  });

  it('is named after its route, tells its status, and is no error when the fault is the caller', async () => {
    const { headers, spans, named } = caller();
    expect((await gateway.get('/api/queue/status/default.nobody?secret=1', headers)).status).toBe(404);
    await eventually('its span has come', () => spans().length === 1);
    const http = named('GET /api/queue/status/*');
    expect(http.attributes).toMatchObject({ 'http.response.status_code': 404, 'url.path': '/api/queue/status/default.nobody' });
    expect(http.attributes).not.toHaveProperty('error.type');
    expect(http.status?.code ?? 0).toBe(0);
  });

  it('hands its trace on to the service that carries out a command', async () => {
    const { headers, spans, named } = caller();
    const seen: (string | undefined)[] = [];
    const stop = gateway.admin.subscribe(gateway.admin.names.service('queue-manager', 'queues.list'), (message) => {
      seen.push(headerValue(decodeHeaders(message.headers), 'traceparent'));
      expect(bodyText(message)).toBe('{}');
      gateway.admin.send(message.reply, JSON.stringify({ result: [] }));
    });
    await gateway.admin.flush();
    expect((await gateway.get('/api/v1/queues', headers)).status).toBe(200);
    stop();
    await eventually('its span has come', () => spans().length === 1);
    const { traceId, spanId } = named('GET /api/v1/queues');
    expect(seen).toEqual([`00-${traceId}-${spanId}-01`]);
  });

  it('leaves no span when the caller does not sample, and hands that on', async () => {
    const { traceId, headers, spans } = caller('00');
    const { body } = await gateway.enqueue(task('default'), headers);
    const [, key] = String(body.task_id).split('.');
    const { names } = gateway.admin;
    const stored = await leaderGet(gateway.admin, names.lane('default', 'normal').stream, names.task('default', 'normal', key!));
    expect(headerValue(stored!.headers, 'traceparent')).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`));
    const next = caller();
    await gateway.enqueue(task('typed'), next.headers);
    await eventually('what came behind it is exported', () => next.spans().length === 4);
    expect(spans()).toEqual([]);
  });

  it('has no span when it is not let in, whatever its caller samples', async () => {
    const closed = await GatewayFixture.start({ JETLANE_API_KEYS: 'a-key' }, gateway.nats);
    try {
      const [stranger, known] = [caller(), caller()];
      expect((await closed.get('/api/queue/stats', stranger.headers)).status).toBe(401);
      expect((await closed.get('/api/queue/stats', { ...stranger.headers, 'x-api-key': 'wrong' })).status).toBe(401);
      expect((await closed.get('/api/queue/stats', { ...known.headers, 'x-api-key': 'a-key' })).status).toBe(200);
      await eventually('what came behind it is exported', () => known.spans().length === 1);
      expect(stranger.spans()).toEqual([]);
    } finally {
      await closed.stop({ keepNats: true });
    }
  });

  it('ends when the caller has gone', async () => {
    const { headers, spans } = caller();
    const gone = new AbortController();
    const waiting = gateway
      .call('POST', '/api/queue/enqueue?wait=60', {
        signal: gone.signal,
        body: JSON.stringify(task('default')),
        headers: { ...headers, 'content-type': 'application/json' },
      })
      .catch((error: Error) => error.name);
    await eventually('the task is stored', () => spans().length === 1);
    gone.abort();
    expect(await waiting).toBe('AbortError');
    await eventually('its span has come', () => spans().length === 2);
    const [http] = spans().filter(({ kind }) => kind === SERVER_KIND);
    expect(http).toMatchObject({ status: { code: 2 }, attributes: { 'error.type': 'aborted' } });
    expect(http!.attributes).not.toHaveProperty('http.response.status_code');
  });

  // The last one: it takes the broker away.
  it('is an error when the fault is the server', async () => {
    await worker.stop();
    gateway.nats.kill('SIGKILL');
    await eventually('the gateway knows', () => gateway.service.context.connection.state !== 'connected');
    const { headers, spans } = caller();
    const answer = await gateway.enqueue(task('typed'), headers);
    expect(answer.status).toBe(503);
    await eventually('its span has come', () => spans().some(({ kind }) => kind === SERVER_KIND));
    const [http] = spans().filter(({ kind }) => kind === SERVER_KIND);
    expect(http).toMatchObject({ status: { code: 2 }, attributes: { 'error.type': '503', 'http.response.status_code': 503 } });
  });
});
