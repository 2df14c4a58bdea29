import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/wait-until.js';
import { GatewayFixture } from './gateway-fixture.js';

type Pair = Awaited<ReturnType<typeof generateKeyPair>>;

const AUDIENCE = 'jetlane';
const ISSUER = 'https://id.example';
const task = { queue_name: 'default', task_type: 'noop', task_data: 1 };
const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });

let first: Pair;
let second: Pair;
let folder: string;
let file: string;
let gateway: GatewayFixture;

interface Signing {
  readonly with?: Pair;
  readonly kid?: string;
  readonly expires?: string;
  readonly audience?: string;
  readonly issuer?: string;
  readonly subject?: string | null;
}

function sign(claims: JWTPayload, over: Signing = {}): Promise<string> {
  const token = new SignJWT(claims)
    .setProtectedHeader({ alg: 'ES256', kid: over.kid ?? 'one' })
    .setAudience(over.audience ?? AUDIENCE)
    .setIssuer(over.issuer ?? ISSUER);
  if (over.subject !== null) token.setSubject(over.subject ?? 'user-17');
  if (over.expires !== '') token.setExpirationTime(over.expires ?? '5m');
  return token.sign((over.with ?? first).privateKey);
}

async function keySet(...pairs: [kid: string, pair: Pair][]): Promise<string> {
  const keys = await Promise.all(pairs.map(async ([kid, { publicKey }]) => ({ ...(await exportJWK(publicKey)), kid, alg: 'ES256' })));
  return JSON.stringify({ keys });
}

beforeAll(async () => {
  [first, second] = await Promise.all([generateKeyPair('ES256'), generateKeyPair('ES256')]);
  folder = await mkdtemp(join(tmpdir(), 'jetlane-jwks-'));
  file = join(folder, 'jwks.json');
  await writeFile(file, await keySet(['one', first]));
  gateway = await GatewayFixture.start({
    JETLANE_JWT_JWKS: file,
    JETLANE_JWT_AUDIENCE: AUDIENCE,
    JETLANE_JWT_ISSUER: ISSUER,
    JETLANE_RATE_LIMIT_REFUSED: '50/h',
  });
});

afterAll(async () => {
  await gateway.stop();
  await rm(folder, { recursive: true, force: true });
});

const stats = (token: string) => gateway.get('/api/queue/stats', bearer(token));

describe('tokens', () => {
  it('let their bearer in, as far as their scopes go', async () => {
    const reader = await sign({ scope: 'openid jetlane:read' });
    expect((await stats(reader)).status).toBe(200);
    const refused = await gateway.enqueue(task, bearer(reader));
    expect([refused.status, refused.body.code]).toEqual([403, 'forbidden']);
    expect(refused.body.detail).toContain('jwt user-17 lacks the scope "produce"');
    expect((await gateway.enqueue(task, bearer(await sign({ scopes: ['produce'] })))).status).toBe(202);
    expect((await stats(await sign({ scope: 'openid' }))).status).toBe(403);
  });

  it('hold to the queues that they name', async () => {
    const token = await sign({ scope: 'produce read', queues: ['default'] });
    expect((await gateway.enqueue(task, bearer(token))).status).toBe(202);
    expect((await gateway.enqueue({ ...task, queue_name: 'low_priority' }, bearer(token))).status).toBe(403);
    expect((await stats(await sign({ scope: 'read', queues: [] }))).body.queues).toEqual([]);
  });

  it('are refused, with the reason where it is no secret', async () => {
    const stranger = await generateKeyPair('ES256');
    const cases: [token: string, says: string][] = [
      [await sign({ scope: 'read' }, { expires: '-1m' }), 'has expired'],
      [await sign({ scope: 'read' }, { expires: '' }), 'claim "exp"'],
      [await sign({ scope: 'read' }, { subject: null }), 'claim "sub"'],
      [await sign({ scope: 'read' }, { audience: 'others' }), 'claim "aud"'],
      [await sign({ scope: 'read' }, { issuer: 'https://evil.example' }), 'claim "iss"'],
      [await sign({ scope: 'read' }, { with: stranger }), 'not one that this gateway accepts'],
      [await sign({ scope: 'read' }, { kid: 'unknown' }), 'not one that this gateway accepts'],
      [unsigned({ scope: 'admin' }), 'not one that this gateway accepts'],
      [await sharedSecret({ scope: 'admin' }), 'not one that this gateway accepts'],
      ['a.b.c', 'not one that this gateway accepts'],
      ['nonsense', 'not known'],
    ];
    for (const [token, says] of cases) {
      const { status, body } = await stats(token);
      expect([status, body.code, body.detail]).toEqual([401, 'unauthorized', expect.stringContaining(says)]);
    }
  });

  it('are checked against new keys when the file changes', async () => {
    const old = await sign({ scope: 'read' }, { subject: 'old' });
    const next = await sign({ scope: 'read' }, { with: second, kid: 'two' });
    expect([(await stats(old)).status, (await stats(next)).status]).toEqual([200, 401]);
    await writeFile(file, await keySet(['two', second]));
    // Not by asking again and again: that would be guessing, which is limited.
    await eventually('the file was read', () => gateway.logged.some((line) => line.includes('jwks:reloaded')));
    expect([(await stats(old)).status, (await stats(next)).status]).toEqual([401, 200]);
  });

  it('cannot be tried without end: signatures are not checked for an address that guesses', async () => {
    const good = await sign({ scope: 'read' }, { with: second, kid: 'two', subject: 'in-time' });
    expect((await stats(good)).status).toBe(200);
    const guess = async () => stats(await sign({ scope: 'read' }, { kid: 'unknown' }));
    await eventually('guesses are too many', async () => (await guess()).status === 429);
    const { body, headers } = await guess();
    expect(body.code).toBe('rate-limited');
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(1);
    // Who was let in before is known without a check.
    expect((await stats(good)).status).toBe(200);
  });
});

const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const claims = () => ({ sub: 'x', aud: AUDIENCE, iss: ISSUER, exp: Math.floor(Date.now() / 1000) + 300 });

const unsigned = (more: object): string => `${encode({ alg: 'none' })}.${encode({ ...claims(), ...more })}.AA`;

/** The trick of signing with the public key as if it were a shared secret. */
async function sharedSecret(more: object): Promise<string> {
  const secret = new TextEncoder().encode(JSON.stringify(await exportJWK(first.publicKey)));
  return new SignJWT({ ...claims(), ...more }).setProtectedHeader({ alg: 'HS256', kid: 'one' }).sign(secret);
}

describe('a key set at a URL', () => {
  let issuer: Server;
  let answers: boolean;
  let other: GatewayFixture;

  beforeAll(async () => {
    const body = await keySet(['one', first]);
    issuer = createServer((_request, response) => {
      if (answers) response.setHeader('content-type', 'application/json').end(body);
      else response.writeHead(500).end();
    });
    await new Promise<void>((resolve) => issuer.listen(0, '127.0.0.1', resolve));
    const { port } = issuer.address() as { port: number };
    other = await GatewayFixture.start(
      { JETLANE_JWT_JWKS: `http://127.0.0.1:${port}/jwks`, JETLANE_JWT_AUDIENCE: AUDIENCE, JETLANE_JWT_ISSUER: ISSUER },
      gateway.nats,
    );
  });

  afterAll(async () => {
    await other.stop({ keepNats: true });
    await new Promise((resolve) => issuer.close(resolve));
  });

  it('is fetched when it is needed; while it cannot be, the answer is 503, not 401', async () => {
    const token = await sign({ scope: 'read' });
    answers = false;
    const { status, body, headers } = await other.get('/api/queue/stats', bearer(token));
    expect([status, body.code, headers.get('retry-after')]).toEqual([503, 'service-unavailable', '1']);
    answers = true;
    expect((await other.get('/api/queue/stats', bearer(token))).status).toBe(200);
  });
});
