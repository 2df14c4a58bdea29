import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Connection, connect } from '@jetlane/jetstream';
import { type Component, callService, type RunningService, readServiceConfig, serveCommand, startService } from '@jetlane/nestjs/service';
import { JetlaneError } from '@jetlane/protocol';
import { activeTracer, startProcess, startSend } from '@jetlane/telemetry';
import { type NatsServer, startNatsServer } from '@jetlane/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

let server: NatsServer;
beforeAll(async () => {
  server = await startNatsServer();
});
afterAll(() => server.stop());

const environment = (overrides: Record<string, string> = {}) => ({
  NATS_URL: server.url,
  TRIAL_PORT: '0',
  LOG_LEVEL: 'silent',
  LOG_FORMAT: 'json',
  ...overrides,
});
const configOf = (overrides?: Record<string, string>) => readServiceConfig('trial', 3999, 'TRIAL_PORT', environment(overrides));

describe('startService', () => {
  const running: RunningService[] = [];
  afterEach(async () => {
    await Promise.all(running.splice(0).map((service) => service.stop()));
  });

  async function start(options: Partial<Parameters<typeof startService>[0]> = {}): Promise<RunningService> {
    const service = await startService({ config: configOf(), components: () => [], ...options });
    running.push(service);
    return service;
  }

  it('starts components in order and stops them in reverse, before the connection closes', async () => {
    const steps: string[] = [];
    const component = (name: string, connection: Connection): Component => ({
      start: async () => void steps.push(`start ${name}`),
      stop: async () => void steps.push(`stop ${name} ${connection.state}`),
    });
    const service = await startService({
      config: configOf(),
      components: ({ connection }) => [component('a', connection), component('b', connection)],
    });
    await service.stop();
    expect(steps).toEqual(['start a', 'start b', 'stop b connected', 'stop a connected']);
    expect(service.context.connection.state).toBe('closed');
  });

  it('stops what it had started, and the connection, when a component cannot start', async () => {
    const steps: string[] = [];
    let connection: Connection | undefined;
    const starting = startService({
      config: configOf(),
      components: (context) => {
        connection = context.connection;
        return [
          { start: async () => undefined, stop: async () => void steps.push('stopped') },
          { start: () => Promise.reject(new Error('cannot')), stop: () => Promise.reject(new Error('never was')) },
        ];
      },
    });
    await expect(starting).rejects.toThrow('cannot');
    expect(steps).toEqual(['stopped']);
    expect(connection?.state).toBe('closed');
  });

  it('answers probes: alive always, ready by every check', async () => {
    const report = { up: true };
    const service = await start({
      components: ({ health }) => {
        health.add('thing', () => ({ ...report, depth: 3 }));
        return [];
      },
    });
    const ready = () => fetch(`${service.url}/health/ready`);
    expect(await (await fetch(`${service.url}/health/live`)).json()).toMatchObject({ status: 'ok' });
    expect(await (await ready()).json()).toMatchObject({
      status: 'ok',
      info: { nats: { status: 'up', state: 'connected' }, thing: { status: 'up', depth: 3 } },
    });
    report.up = false;
    const down = await ready();
    expect(down.status).toBe(503);
    expect(await down.json()).toMatchObject({
      status: 'error',
      error: { thing: { status: 'down', depth: 3 } },
      info: { nats: { status: 'up' } },
    });
    expect((await fetch(`${service.url}/health/live`)).status).toBe(200);
  });

  it('shows its metrics, with routes and never paths as labels', async () => {
    const service = await start({
      components: ({ metrics }) => {
        metrics.add(() => 'own_metric 7');
        return [];
      },
      configureApp: (app) =>
        void app
          .getHttpAdapter()
          .getInstance()
          .get('/things/:id', async () => 'thing'),
    });
    await fetch(`${service.url}/things/1`);
    await fetch(`${service.url}/things/2`);
    await fetch(`${service.url}/nothing/3`);
    const page = await fetch(`${service.url}/metrics`);
    expect(page.headers.get('content-type')).toContain('text/plain; version=0.0.4');
    const text = await page.text();
    expect(text).toContain('own_metric 7\n');
    expect(text).toContain(
      'http_server_request_duration_seconds_count{http_request_method="GET",http_route="/things/:id",http_response_status_code="200"} 2',
    );
    expect(text).not.toContain('/nothing');
    for (const name of [
      'process_resident_memory_bytes',
      'nodejs_eventloop_lag_seconds',
      'process_cpu_seconds_total',
      'jetlane_nats_reconnects_total',
    ]) {
      expect(text, name).toMatch(new RegExp(`^${name} [0-9.e-]+$`, 'm'));
    }
  });

  it('serves hosts that name this machine, and no page whose name was re-bound to it', async () => {
    const { url } = await start();
    const ask = (path: string, host: string) =>
      new Promise<number | undefined>((resolve, reject) => {
        get(`${url}${path}`, { headers: { host } }, (response) => resolve(response.resume().statusCode)).on('error', reject);
      });
    for (const host of ['localhost', 'localhost:3001', '127.8.9.1:80', '[::1]:3001']) expect(await ask('/metrics', host), host).toBe(200);
    for (const host of ['evil.example', '127.0.0.1.evil.example', '10.0.0.7:3001'])
      for (const path of ['/metrics', '/health/ready']) expect(await ask(path, host), host).toBe(403);
  });

  it('serves any host on an address that others reach', async () => {
    const { url } = await start({ config: configOf({ HOST: '0.0.0.0' }) });
    const status = await new Promise((resolve) => {
      get(`${url.replace('0.0.0.0', '127.0.0.1')}/metrics`, { headers: { host: 'scheduler:3002' } }, (response) =>
        resolve(response.resume().statusCode),
      );
    });
    expect(status).toBe(200);
  });

  it('refuses a port that is taken', async () => {
    const service = await start();
    const port = new URL(service.url).port;
    await expect(start({ config: configOf({ TRIAL_PORT: port }) })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });
});

describe('tracing', () => {
  it('sends spans to the collector under the name of the service, and makes none without one', async () => {
    const bodies: string[] = [];
    const collector = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => {
        body += chunk;
      });
      request.on('end', () => {
        bodies.push(`${request.url} ${body}`);
        response.setHeader('content-type', 'application/json').end('{}');
      });
    });
    await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
    const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}/`;
    expect(activeTracer()).toBeUndefined();
    const service = await startService({ config: configOf({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }), components: () => [] });
    const send = startSend({ queue: 'default', lane: 'high', type: 't', key: 'k' });
    send.end();
    const task = { id: 'default.k', queue: 'default', lane: 'high', attempt: 1, hop: 1, delivery: 1 };
    startProcess(() => task, { traceparent: send.traceparent! }).end({ outcome: 'completed', moments: () => ({}) });
    await service.stop();
    collector.close();
    expect(bodies).toHaveLength(1);
    expect(bodies[0]).toMatch(/^\/v1\/traces /);
    for (const part of ['jetlane-trial', 'send default', 'process default', send.traceparent!.slice(3, 35)])
      expect(bodies[0]).toContain(part);
    expect(activeTracer()).toBeUndefined();
  });
});

describe('commands between services', () => {
  let connection: Connection;
  beforeAll(async () => {
    connection = await connect({ servers: server.url, namespace: 'commands' });
  });
  afterAll(() => connection.close());

  it('carry input and result', async () => {
    const stop = serveCommand(connection, 'adder', 'add', async (input) => (input as number[]).reduce((a, b) => a + b));
    expect(await callService(connection, 'adder', 'add', [1, 2, 3])).toBe(6);
    stop();
  });

  it('carry nothing as nothing', async () => {
    const stop = serveCommand(connection, 'quiet', 'do', async (input) => input);
    expect(await callService(connection, 'quiet', 'do')).toBeUndefined();
    stop();
  });

  it('carry errors under their code, and strangers as internal', async () => {
    const stops = [
      serveCommand(connection, 'failing', 'typed', () =>
        Promise.reject(new JetlaneError('unknown-queue', 'no such queue', { details: { queue: 'x' } })),
      ),
      serveCommand(connection, 'failing', 'plain', () => Promise.reject(new TypeError('oops'))),
    ];
    await expect(callService(connection, 'failing', 'typed')).rejects.toMatchObject({
      code: 'unknown-queue',
      message: 'no such queue',
      details: { queue: 'x', service: 'failing' },
    });
    await expect(callService(connection, 'failing', 'plain')).rejects.toMatchObject({ code: 'internal', message: 'oops' });
    for (const stop of stops) stop();
  });

  it('are answered by one of several processes', async () => {
    let calls = 0;
    const other = await connect({ servers: server.url, namespace: 'commands' });
    const count = async () => ++calls;
    const stops = [serveCommand(connection, 'twins', 'count', count), serveCommand(other, 'twins', 'count', count)];
    await Promise.all([connection.flush(), other.flush()]);
    for (let i = 1; i <= 10; i++) expect(await callService(connection, 'twins', 'count')).toBe(i);
    for (const stop of stops) stop();
    await other.close();
  });

  it('say that nobody is there, at once or when nobody answers in time', async () => {
    await expect(callService(connection, 'nobody', 'x')).rejects.toMatchObject({
      code: 'service-unavailable',
      retryable: true,
      details: { service: 'nobody', command: 'x' },
    });
    const stop = serveCommand(connection, 'slow', 'x', () => new Promise(() => undefined));
    await expect(callService(connection, 'slow', 'x', undefined, 100)).rejects.toMatchObject({ code: 'service-unavailable' });
    stop();
  });
});
