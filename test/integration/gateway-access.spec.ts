import type { NatsServer } from '@jetlane/testing';
import { startNatsServer } from '@jetlane/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readGatewayConfig } from '../../apps/gateway/src/config.js';
import { GatewayFixture, sendRaw } from './gateway-fixture.js';

let nats: NatsServer;

beforeAll(async () => {
  nats = await startNatsServer();
});

afterAll(() => nats.stop());

const ROUTES = [
  ['POST', '/api/queue/enqueue'],
  ['POST', '/api/queue/enqueue/batch'],
  ['GET', '/api/queue/status/default.x'],
  ['GET', '/api/queue/stats'],
  ['GET', '/api/queue/stats/default'],
  ['POST', '/api/queue/example/credit-purchase'],
  ['POST', '/api/queue/example/user-registration'],
  ['POST', '/api/queue/example/credit-update'],
  ['GET', '/api/v1/dead-letters'],
  ['GET', '/api/v1/dead-letters/export'],
  ['GET', '/api/v1/dead-letters/default.x'],
  ['DELETE', '/api/v1/dead-letters/default.x'],
  ['POST', '/api/v1/dead-letters/redrive'],
  ['POST', '/api/v1/dead-letters/discard'],
  ['GET', '/api/v1/dead-letters/jobs'],
  ['GET', '/api/v1/dead-letters/jobs/x'],
  ['DELETE', '/api/v1/dead-letters/jobs/x'],
] as const;

describe('with API keys', () => {
  let gateway: GatewayFixture;

  beforeAll(async () => {
    gateway = await GatewayFixture.start({ JETLANE_API_KEYS: 'first-key, second-key' }, nats);
  });

  afterAll(() => gateway.stop({ keepNats: true }));

  it.each(ROUTES)('%s %s needs one', async (method, path) => {
    const wrong: Record<string, string>[] = [
      {},
      { authorization: 'Bearer nope' },
      { 'x-api-key': 'first-ke' },
      { authorization: 'first-key' },
      { authorization: 'Basic first-key' },
      { 'x-api-key': '' },
    ];
    for (const headers of wrong) {
      const answer = await gateway.call(method, path, { headers });
      expect([answer.status, answer.body.code]).toEqual([401, 'unauthorized']);
      expect(answer.headers.get('www-authenticate')).toContain('Bearer');
    }
  });

  it.each([{ authorization: 'Bearer first-key' }, { authorization: 'bearer second-key' }, { 'x-api-key': 'second-key' }])(
    'lets %j in',
    async (headers) => {
      expect((await gateway.get('/api/queue/stats', headers)).status).toBe(200);
      expect((await gateway.enqueue({ queue_name: 'default', task_type: 'x', task_data: null }, headers)).status).toBe(202);
    },
  );

  it('leaves page, documentation and probes open', async () => {
    for (const path of ['/docs', '/docs-json', '/health/live', '/health/ready']) expect((await gateway.get(path)).status).toBe(200);
  });

  it('serves a proxy on this machine that passes on its own name', async () => {
    const request = (extra: string) => `GET /api/queue/stats HTTP/1.1\r\nHost: tasks.example\r\n${extra}Connection: close\r\n\r\n`;
    const own = 'X-API-Key: first-key\r\nOrigin: https://tasks.example\r\n';
    expect(await sendRaw(gateway.port, request(own))).toMatch(/^HTTP\/1\.1 200 /);
    expect(await sendRaw(gateway.port, request(''))).toMatch(/^HTTP\/1\.1 401 /);
  });

  it('refuses a body before it reads it', async () => {
    const answer = await sendRaw(
      gateway.port,
      'POST /api/queue/enqueue/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000000\r\n\r\n{}\n',
    );
    expect(answer).toMatch(/^HTTP\/1\.1 401 /);
  });
});

describe('on loopback without keys', () => {
  let gateway: GatewayFixture;

  beforeAll(async () => {
    gateway = await GatewayFixture.start({}, nats);
  });

  afterAll(() => gateway.stop({ keepNats: true }));

  const withHost = (host: string, extra = ''): Promise<string> =>
    sendRaw(gateway.port, `GET /api/queue/stats HTTP/1.1\r\nHost: ${host}\r\n${extra}Connection: close\r\n\r\n`);

  it.each(['localhost', 'localhost:3000', '127.0.0.1:8080', '[::1]:3000', 'jetlane.localhost:3000'])('serves Host %s', async (host) => {
    expect(await withHost(host)).toMatch(/^HTTP\/1\.1 200 /);
  });

  it.each([
    'evil.example',
    'evil.example:3000',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    '192.168.1.7:3000',
    'localhost@evil.example',
  ])('refuses Host %s', async (host) => {
    const answer = await withHost(host);
    expect(answer).toMatch(/^HTTP\/1\.1 403 /);
    expect(answer).toContain('"code":"forbidden"');
  });

  it('refuses pages of other origins', async () => {
    expect(await withHost('localhost', 'Origin: https://evil.example\r\n')).toMatch(/^HTTP\/1\.1 403 /);
    expect(await withHost('localhost', 'Origin: null\r\n')).toMatch(/^HTTP\/1\.1 403 /);
    expect(await withHost('localhost', 'Origin: http://localhost:5173\r\n')).toMatch(/^HTTP\/1\.1 200 /);
  });
});

describe('beyond loopback', () => {
  it.each(['0.0.0.0', '192.168.1.7', '::', 'example.com'])('HOST=%s needs keys', (HOST) => {
    expect(() => readGatewayConfig({ HOST })).toThrow(/JETLANE_API_KEYS/);
    expect(readGatewayConfig({ HOST, JETLANE_API_KEYS: 'k' }).host).toBe(HOST);
  });

  it.each(['127.0.0.1', '::1', 'localhost'])('HOST=%s does not', (HOST) => {
    expect(readGatewayConfig({ HOST }).host).toBe(HOST);
  });
});
