import { Agent, request } from 'node:http';
import { type NatsServer, startNatsServer, waitUntil } from '@jetlane/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GatewayFixture, type Json } from './gateway-fixture.js';

/** Each connection sends ten requests, one after the other. */
const REQUESTS = 2000;
const CONNECTIONS = 200;
const task: Json = { queue_name: 'default', task_type: 'noop', task_data: { fill: 'x'.repeat(2000) } };

let nats: NatsServer;
let gateway: GatewayFixture;
const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });

beforeAll(async () => {
  nats = await startNatsServer();
  gateway = await GatewayFixture.start({}, nats);
});

afterAll(async () => {
  agent.destroy();
  nats.kill('SIGCONT');
  await gateway.stop();
});

interface Outcome {
  readonly status: number;
  readonly code: unknown;
  readonly retryAfter: string | undefined;
  readonly ms: number;
}

function post(body: string): Promise<Outcome> {
  const begin = performance.now();
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), host: 'localhost' };
    const sent = request(
      { port: gateway.port, host: '127.0.0.1', path: '/api/queue/enqueue', method: 'POST', agent, headers },
      (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (chunk) => {
          text += chunk;
        });
        answer.on('end', () => {
          const ms = performance.now() - begin;
          resolve({ status: answer.statusCode!, code: (JSON.parse(text) as Json).code, retryAfter: answer.headers['retry-after'], ms });
        });
      },
    );
    sent.once('error', reject);
    sent.end(body);
  });
}

/** Sends requests over all connections; each connection sends its next when it has the answer to the one before. */
const flood = (count: number): Promise<Outcome[]> => Promise.all(Array.from({ length: count }, () => post(JSON.stringify(task))));
const ready = async (): Promise<number> => (await gateway.get('/health/ready')).status;

describe('a broker that stands still behind a link that stays up', () => {
  it('costs requests at most their deadline, then they are refused at once; it recovers by itself', async () => {
    expect((await flood(CONNECTIONS)).every(({ status }) => status === 202)).toBe(true);
    global.gc?.();
    const before = process.memoryUsage.rss();
    nats.kill('SIGSTOP');
    const begin = performance.now();
    const flooded = flood(REQUESTS);
    expect(await waitUntil(async () => (await ready()) === 503, { timeoutMs: 10_000 })).toBe(true);

    // Known to stand still: no request waits any more.
    const refused = await Promise.all([
      post(JSON.stringify(task)),
      gateway.get('/api/queue/status/default.x'),
      gateway.get('/api/queue/stats'),
    ]);
    for (const { status } of refused) expect(status).toBe(503);
    const outcomes = await flooded;
    const tookMs = performance.now() - begin;
    for (const { status, code, retryAfter } of outcomes) {
      expect([status, retryAfter]).toEqual([503, '1']);
      expect(['request-timeout', 'publish-timeout', 'publisher-overloaded', 'not-connected']).toContain(code);
    }
    // The first of each connection waited for its deadline; the other nine of ten were refused when they came.
    expect(outcomes.filter(({ code }) => code === 'publish-timeout').length).toBeLessThanOrEqual(2 * CONNECTIONS);
    expect(tookMs).toBeLessThan(20_000);
    const { publisher } = gateway.service.context.connection;
    expect(publisher.pending + publisher.queued).toBe(0);
    expect((process.memoryUsage.rss() - before) / 1_048_576).toBeLessThan(200);
    expect((await gateway.get('/health/live')).status).toBe(200);

    nats.kill('SIGCONT');
    expect(await waitUntil(async () => (await ready()) === 200, { timeoutMs: 15_000 })).toBe(true);
    expect(await waitUntil(async () => (await post(JSON.stringify(task))).status === 202, { timeoutMs: 15_000 })).toBe(true);
    expect((await flood(CONNECTIONS)).every(({ status }) => status === 202)).toBe(true);
    const told = gateway.logged.join('');
    expect([told.includes('broker:stalled'), told.includes('broker:answers') || told.includes('nats:reconnected')]).toEqual([true, true]);
  });
});

describe('a queue that is full', () => {
  it('answers 429 with Retry-After to thousands, quickly, and takes more when there is room', async () => {
    const body = JSON.stringify({ ...task, queue_name: 'tiny' });
    const outcomes = await Promise.all(Array.from({ length: REQUESTS }, () => post(body)));
    const stored = outcomes.filter(({ status }) => status === 202).length;
    expect(stored).toBe(2);
    for (const { status, code, retryAfter } of outcomes.filter((outcome) => outcome.status !== 202))
      expect([status, code, retryAfter]).toEqual([429, 'queue-full', '1']);
    const admin = await gateway.admin.admin();
    await admin.streams.purge(gateway.admin.names.lane('tiny', 'normal').stream);
    expect(await waitUntil(async () => (await post(body)).status === 202, { timeoutMs: 5000 })).toBe(true);
  });
});
