import { type NatsServer, startNatsServer } from '@jetlane/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatKeyLine, hashKey } from '../../apps/gateway/src/access/key-line.js';
import { eventually } from '../support/wait-until.js';
import { GatewayFixture } from './gateway-fixture.js';

let nats: NatsServer;

beforeAll(async () => {
  nats = await startNatsServer();
});

afterAll(() => nats.stop());

const line = (name: string, key: string): string => formatKeyLine({ name, hash: hashKey(key), scopes: ['admin'] });
const key = (value: string): Record<string, string> => ({ 'x-api-key': value });
const numbers = (headers: Headers): number[] => ['limit', 'remaining', 'reset'].map((name) => Number(headers.get(`ratelimit-${name}`)));

describe('with keys', () => {
  let gateway: GatewayFixture;

  beforeAll(async () => {
    // The old and the new key of a rotation count together: they are one caller.
    const JETLANE_API_KEY_HASHES = [line('ci', 'old'), line('ci', 'new'), line('ops', 'ops'), line('slow', 'slow')].join(';');
    gateway = await GatewayFixture.start({ JETLANE_API_KEY_HASHES, JETLANE_RATE_LIMIT: '10/h', JETLANE_RATE_LIMIT_REFUSED: '5/h' }, nats);
  });

  afterAll(() => gateway.stop({ keepNats: true }));

  it('counts each caller by itself, tells it how it stands, and refuses what is too much', async () => {
    for (let i = 1; i <= 10; i++) {
      const { status, headers } = await gateway.get('/api/queue/stats', key(i % 2 ? 'old' : 'new'));
      expect([status, headers.get('ratelimit-policy'), headers.get('retry-after')]).toEqual([200, '10;w=3600', null]);
      const [limit, remaining, reset] = numbers(headers);
      expect([limit, remaining]).toEqual([10, 10 - i]);
      expect(reset).toBeGreaterThan(3500);
      expect(reset).toBeLessThanOrEqual(3600);
    }
    const { status, body, headers } = await gateway.get('/api/queue/stats', key('new'));
    expect([status, body.code, body.retryable]).toEqual([429, 'rate-limited', true]);
    const [limit, remaining, reset] = numbers(headers);
    expect([limit, remaining]).toEqual([10, 0]);
    expect(Number(headers.get('retry-after'))).toBe(reset);
    expect((await gateway.get('/api/queue/stats', key('ops'))).status).toBe(200);
  });

  it('counts a request that is refused for its body or scope too', async () => {
    const left = async () => numbers((await gateway.get('/api/queue/stats', key('slow'))).headers)[1]!;
    const before = await left();
    await gateway.enqueue('{', key('slow'));
    expect(await left()).toBe(before - 2);
  });

  it('counts addresses that show no valid key, and lets valid ones from there in', async () => {
    for (let i = 0; i < 5; i++) expect((await gateway.get('/api/queue/stats', key('guess'))).status).toBe(401);
    for (const headers of [key('guess'), {}]) {
      const { status, body, headers: answer } = await gateway.get('/api/queue/stats', headers);
      expect([status, body.code]).toEqual([429, 'rate-limited']);
      expect(Number(answer.get('retry-after'))).toBeGreaterThan(3500);
    }
    expect((await gateway.get('/api/queue/stats', key('ops'))).status).toBe(200);
  });

  it('leaves probes alone', async () => {
    for (let i = 0; i < 30; i++) expect((await gateway.get('/health/live')).status).toBe(200);
  });
});

it('without keys counts addresses, and a window ends', async () => {
  const gateway = await GatewayFixture.start({ JETLANE_RATE_LIMIT: '3/s' }, nats);
  const ask = async () => (await gateway.get('/api/queue/stats/default')).status;
  await eventually('too much is refused', async () => (await Promise.all([ask(), ask(), ask(), ask(), ask()])).includes(429));
  await eventually('the next window begins', async () => (await ask()) === 200);
  await gateway.stop({ keepNats: true });
});

it('believes X-Forwarded-For of trusted proxies only', async () => {
  const from = (address: string) => ({ 'x-forwarded-for': address });
  const env = { JETLANE_RATE_LIMIT: '2/h' };
  const proxied = await GatewayFixture.start({ ...env, JETLANE_TRUSTED_PROXIES: '127.0.0.1' }, nats);
  for (const address of ['192.0.2.1', '192.0.2.1', '192.0.2.2'])
    expect((await proxied.get('/api/queue/stats', from(address))).status).toBe(200);
  expect((await proxied.get('/api/queue/stats', from('192.0.2.1'))).status).toBe(429);
  await proxied.stop({ keepNats: true });
  const direct = await GatewayFixture.start(env, nats);
  const statuses = [];
  for (const address of ['192.0.2.1', '192.0.2.2', '192.0.2.3'])
    statuses.push((await direct.get('/api/queue/stats', from(address))).status);
  expect(statuses).toEqual([200, 200, 429]);
  await direct.stop({ keepNats: true });
});

it('can be switched off', async () => {
  const gateway = await GatewayFixture.start({ JETLANE_RATE_LIMIT: 'off', JETLANE_RATE_LIMIT_REFUSED: 'off', JETLANE_API_KEYS: 'k' }, nats);
  const { status, headers } = await gateway.get('/api/queue/stats', key('k'));
  expect([status, headers.get('ratelimit-limit')]).toEqual([200, null]);
  await gateway.stop({ keepNats: true });
});
