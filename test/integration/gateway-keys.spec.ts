import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startNatsServer } from '@jetlane/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatKeyLine, hashKey, type KeyEntry } from '../../apps/gateway/src/access/key-line.js';
import { readGatewayConfig } from '../../apps/gateway/src/config.js';
import { eventually } from '../support/wait-until.js';
import { GatewayFixture, type Json } from './gateway-fixture.js';

const line = (key: string, entry: Partial<KeyEntry> = {}): string =>
  formatKeyLine({ name: key, hash: hashKey(key), scopes: ['admin'], ...entry });
const bearer = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` });
const task = (queue_name: string): Json => ({ queue_name, task_type: 'noop', task_data: 1 });

let folder: string;
let file: string;
let gateway: GatewayFixture;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'jetlane-keys-'));
  file = join(folder, 'keys');
  await writeFile(file, `${line('from-file')}\n`);
  const hashes = [
    line('narrow', { scopes: ['admin'], queues: ['default', 'typed'] }),
    line('old', { expires: Date.now() - 1000 }),
    line('young', { expires: Date.now() + 3_600_000 }),
  ];
  gateway = await GatewayFixture.start({
    JETLANE_API_KEYS: 'plain-key',
    JETLANE_API_KEY_HASHES: hashes.join(';'),
    JETLANE_API_KEYS_FILE: file,
    // Tests ask until a key is known.
    JETLANE_RATE_LIMIT_REFUSED: 'off',
  });
});

afterAll(async () => {
  await gateway.stop();
  await rm(folder, { recursive: true, force: true });
});

const stats = (key: string) => gateway.get('/api/queue/stats', bearer(key));

describe('API keys', () => {
  it.each(['plain-key', 'from-file', 'narrow', 'young'])('%s is known', async (key) => {
    expect((await stats(key)).status).toBe(200);
  });

  it.each(['old', 'nobody', hashKey('narrow'), `sha256:${hashKey('narrow')}`])('%s is not', async (key) => {
    const { status, body } = await stats(key);
    expect([status, body.code]).toEqual([401, 'unauthorized']);
  });

  it('change without a restart: two are valid during a rotation, then the old one is gone', async () => {
    await writeFile(file, `${line('from-file')}\n${line('next')}\n`);
    await eventually('the new key is known', async () => (await stats('next')).status === 200);
    expect((await stats('from-file')).status).toBe(200);
    await writeFile(file, `# rotated\n${line('next')}\n`);
    await eventually('the old key is gone', async () => (await stats('from-file')).status === 401);
    expect((await stats('next')).status).toBe(200);
  });

  it('stay as they are when the file cannot be read, and the log says so without its text', async () => {
    await writeFile(file, 'half a line with-a-secret');
    await eventually('the log tells', () => gateway.logged.some((text) => text.includes('keys:reload-failed')));
    expect((await stats('next')).status).toBe(200);
    expect(gateway.logged.join('')).not.toContain('with-a-secret');
    await writeFile(file, '');
    await eventually('an empty file has no keys', async () => (await stats('next')).status === 401);
    expect((await stats('plain-key')).status).toBe(200);
  });
});

describe('a key that is limited to queues', () => {
  const as = bearer('narrow');
  const forbidden = ({ status, body }: { status: number; body: Json }): void => expect([status, body.code]).toEqual([403, 'forbidden']);

  it('enqueues into its own queues only, also by the example routes', async () => {
    expect((await gateway.enqueue(task('default'), as)).status).toBe(202);
    forbidden(await gateway.enqueue(task('low_priority'), as));
    const { body } = await gateway.enqueue(task('high_priority'), as);
    expect(body.detail).toContain('its queues are default, typed');
    forbidden(await gateway.post('/api/queue/example/credit-purchase', { user_id: 'u', amount: 1 }, as));
    expect((await gateway.post('/api/queue/example/user-registration', { user_id: 'u' }, as)).status).toBe(202);
  });

  it('is held to them in every line of a batch', async () => {
    const lines = [task('default'), task('low_priority'), task('typed')].map((each) => JSON.stringify(each)).join('\n');
    const { status, body } = await gateway.call('POST', '/api/queue/enqueue/batch', {
      body: lines,
      headers: { ...as, 'content-type': 'application/x-ndjson' },
    });
    expect([status, body.accepted, body.failed]).toEqual([202, 2, 1]);
    expect(body.errors).toEqual([expect.objectContaining({ line: 2, code: 'forbidden' })]);
    const array = await gateway.post('/api/queue/enqueue/batch', [task('low_priority')], as);
    expect(array.body).toMatchObject({ accepted: 0, failed: 1 });
  });

  it('sees its own tasks and queues only', async () => {
    const mine = await gateway.enqueue(task('default'), as);
    const other = await gateway.enqueue(task('low_priority'), bearer('plain-key'));
    expect((await gateway.get(`/api/queue/status/${mine.body.task_id}`, as)).status).toBe(200);
    forbidden(await gateway.get(`/api/queue/status/${other.body.task_id}`, as));
    forbidden(await gateway.get('/api/queue/stats/low_priority', as));
    const { body } = await gateway.get('/api/queue/stats', as);
    expect((body.queues as Json[]).map(({ queue_name }) => queue_name)).toEqual(['default', 'typed']);
  });

  it('acts on its own tasks and queues only', async () => {
    const { body } = await gateway.enqueue(task('low_priority'), bearer('plain-key'));
    forbidden(await gateway.post(`/api/v1/tasks/${body.task_id}/cancel`, {}, as));
    forbidden(await gateway.post('/api/v1/queues/low_priority/groups/g/cancel', {}, as));
    // No queue-manager runs here: the gateway lets it pass.
    expect((await gateway.post('/api/v1/queues/default/groups/g/cancel', {}, as)).body.code).toBe('service-unavailable');
  });

  it('names a queue where dead letters of all queues would be meant', async () => {
    const path = '/api/v1/dead-letters';
    forbidden(await gateway.get(path, as));
    forbidden(await gateway.get(`${path}?queue_name=low_priority`, as));
    expect((await gateway.get(`${path}?queue_name=default`, as)).status).toBe(200);
    forbidden(await gateway.get(`${path}/export`, as));
    expect((await gateway.get(`${path}/export?queue_name=typed`, as)).status).toBe(200);
    for (const id of ['low_priority.x']) {
      forbidden(await gateway.get(`${path}/${id}`, as));
      forbidden(await gateway.call('DELETE', `${path}/${id}`, { headers: as }));
    }
    for (const verb of ['redrive', 'discard']) {
      forbidden(await gateway.post(`${path}/${verb}`, { task_id: 'low_priority.x' }, as));
      forbidden(await gateway.post(`${path}/${verb}`, { filter: { reason: 'poison' } }, as));
      forbidden(await gateway.post(`${path}/${verb}`, { filter: {}, all: true }, as));
      forbidden(await gateway.post(`${path}/${verb}`, { filter: { queue_name: 'low_priority' } }, as));
    }
  });
});

describe('the settings', () => {
  it.each([
    [{ JETLANE_API_KEY_HASHES: 'oops' }, 'JETLANE_API_KEY_HASHES, line 1'],
    [{ JETLANE_API_KEYS_FILE: '/nowhere/keys' }, 'JETLANE_API_KEYS_FILE cannot be read'],
    [{ JETLANE_JWT_JWKS: 'https://id.example/jwks' }, 'JETLANE_JWT_AUDIENCE: needed'],
    [
      { JETLANE_JWT_JWKS: 'http://id.example/jwks', JETLANE_JWT_AUDIENCE: 'a', JETLANE_JWT_ISSUER: 'i' },
      'JETLANE_JWT_JWKS: expected an https',
    ],
    [{ JETLANE_JWT_ALGORITHMS: 'HS256' }, 'JETLANE_JWT_ALGORITHMS: expected some of RS256'],
    [{ JETLANE_JWT_ALGORITHMS: 'none' }, 'JETLANE_JWT_ALGORITHMS'],
    [{ JETLANE_RATE_LIMIT: 'fast' }, 'JETLANE_RATE_LIMIT: expected requests per time'],
    [{ JETLANE_TLS_CERT: '/a' }, 'JETLANE_TLS_KEY is missing'],
  ])('%j is refused in words', (env, says) => {
    expect(() => readGatewayConfig(env)).toThrow(says);
  });

  it('beyond loopback take a hash or a key set for credentials, but not an empty file', async () => {
    await writeFile(file, '# nobody yet\n');
    const HOST = '0.0.0.0';
    expect(() => readGatewayConfig({ HOST, JETLANE_API_KEYS_FILE: file })).toThrow(/lets other machines in/);
    expect(readGatewayConfig({ HOST, JETLANE_API_KEY_HASHES: line('k') }).host).toBe(HOST);
    const tokens = {
      JETLANE_JWT_JWKS: 'https://id.example/jwks',
      JETLANE_JWT_AUDIENCE: 'jetlane',
      JETLANE_JWT_ISSUER: 'https://id.example',
    };
    expect(readGatewayConfig({ HOST, ...tokens }).access.tokens?.audience).toBe('jetlane');
  });
});

it('a key that the command makes is one that the gateway takes', async () => {
  const { stdout, status } = spawnSync(process.execPath, ['scripts/key.mjs', '--name', 'made', '--scopes', 'read', '--queue', 'default'], {
    encoding: 'utf8',
  });
  expect(status).toBe(0);
  const [key = '', made = ''] = stdout.trim().split('\n');
  const nats = await startNatsServer();
  const other = await GatewayFixture.start({ JETLANE_API_KEY_HASHES: made }, nats);
  expect((await other.get('/api/queue/stats/default', bearer(key))).status).toBe(200);
  expect((await other.enqueue(task('default'), bearer(key))).status).toBe(403);
  await other.stop();
});
