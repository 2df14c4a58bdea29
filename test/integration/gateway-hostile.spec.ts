import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GatewayFixture, type Json, sendRaw } from './gateway-fixture.js';

let gateway: GatewayFixture;

beforeAll(async () => {
  gateway = await GatewayFixture.start();
});

afterAll(() => gateway.stop());

const task = (over: Json = {}): Json => ({ queue_name: 'default', task_type: 'noop', task_data: 1, ...over });
const fields = (body: Json): unknown[] => ((body.errors ?? []) as Json[]).map(({ path }) => path);

/** Every problem document has the same form, and tells nothing of the inside. */
function expectProblem(answer: { status: number; headers: Headers; body: Json; text: string }, status: number, code: string): void {
  expect([answer.status, answer.body.code]).toEqual([status, code]);
  expect(answer.headers.get('content-type')).toContain('application/problem+json');
  expect(answer.body).toMatchObject({
    type: `urn:jetlane:problem:${code}`,
    title: expect.any(String),
    status,
    detail: expect.any(String),
    instance: expect.stringMatching(/^\//),
    request_id: expect.any(String),
  });
  expect(answer.text).not.toMatch(/node_modules|\bat .*\.(ts|js):\d+|\.ts:\d+/);
}

describe('bodies of enqueue', () => {
  it.each([
    ['', 'invalid-json'],
    ['{', 'invalid-json'],
    ['{"queue_name":"default"', 'invalid-json'],
    ['nonsense', 'invalid-json'],
    ['{"queue_name":"default",}', 'invalid-json'],
    ['null', 'invalid-argument'],
    ['[]', 'invalid-argument'],
    ['"text"', 'invalid-argument'],
    ['12', 'invalid-argument'],
    ['{}', 'invalid-argument'],
    ['{"__proto__":{"admin":true},"queue_name":"default","task_type":"noop"}', 'invalid-json'],
    ['{"queue_name":"default","task_type":"noop","task_data":{"__proto__":{"polluted":1}}}', 'invalid-json'],
    ['{"queue_name":"default","task_type":"noop","task_data":{"constructor":{"prototype":{"polluted":1}}}}', 'invalid-json'],
    [`{"queue_name":"default","task_type":"noop","task_data":${'['.repeat(5000)}${']'.repeat(5000)}}`, 'invalid-argument'],
    ['['.repeat(500_000), 'invalid-json'],
  ])('%.70s gives %s', async (body, code) => {
    expectProblem(await gateway.enqueue(body), 400, code);
    expect(({} as Json).polluted).toBeUndefined();
  });

  const wrong: [string, unknown[]][] = [
    ['queue_name', [undefined, null, 1, '', 'UPPER', 'a'.repeat(65), 'a.b', 'a*', 'a>', '../x', ['default'], {}]],
    ['task_type', [null, 1, '', 'a b', 'a\r\nInjected: 1', 'x'.repeat(129), ['x'], {}]],
    ['priority', [null, 0, 5, 1.5, 'URGENT', '', true, [], {}]],
    ['delay', [null, -1, 'soon', '-5s', 1e12, true, [], {}]],
    ['task_id', [null, 1, '', 'a.b', 'a b', 'ä', 'x'.repeat(129), [], {}]],
  ];
  it.each(wrong.flatMap(([field, values]) => values.map((value) => [field, value] as const)))(
    '%s = %j is refused by name',
    async (field, value) => {
      const answer = await gateway.enqueue(task({ [field]: value }));
      expectProblem(answer, 400, 'invalid-argument');
      expect(fields(answer.body)).toEqual([field]);
    },
  );

  it('reports all wrong fields together', async () => {
    const answer = await gateway.enqueue({ queue_name: 1, priority: 9, delay: 'x', task_data: 1, task_typ: 'y', 'x\u0000': 1 });
    expect(fields(answer.body).sort()).toEqual(['delay', 'priority', 'queue_name', 'task_typ', 'x\u0000'].sort());
    expect(answer.body.detail).toContain('did you mean "task_type"?');
  });

  it('suggests a queue', async () => {
    const answer = await gateway.enqueue(task({ queue_name: 'high_prioritty' }));
    expectProblem(answer, 404, 'unknown-queue');
    expect(answer.body.suggestion).toBe('high_priority');
  });

  it('refuses bytes that are not UTF-8', async () => {
    const body = Buffer.concat([
      Buffer.from('{"queue_name":"default","task_type":"noop","task_data":"'),
      Buffer.from([0xff, 0xfe, 0x80]),
      Buffer.from('"}'),
    ]);
    expectProblem(
      await gateway.call('POST', '/api/queue/enqueue', { body, headers: { 'content-type': 'application/json' } }),
      400,
      'invalid-json',
    );
  });

  it('refuses a body of 2 MB in a clear answer, again and again', async () => {
    const body = JSON.stringify(task({ task_data: 'x'.repeat(2_000_000) }));
    for (let i = 0; i < 5; i++) expectProblem(await gateway.enqueue(body), 413, 'payload-too-large');
  });

  it('refuses a chunked body of 2 MB as well', async () => {
    const body = new Blob([JSON.stringify(task({ task_data: 'x'.repeat(2_000_000) }))]).stream();
    expectProblem(
      await gateway.call('POST', '/api/queue/enqueue', { body, duplex: 'half', headers: { 'content-type': 'application/json' } }),
      413,
      'payload-too-large',
    );
  });

  it('takes a payload just below the limit, or tells its size', async () => {
    const answer = await gateway.enqueue(task({ task_data: 'x'.repeat(1_048_576 - 100) }));
    if (answer.status !== 202) expectProblem(answer, 413, 'payload-too-large');
    expect((await gateway.enqueue(task({ task_data: 'x'.repeat(900_000) }))).status).toBe(202);
  });

  it.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/xml',
    'application/x-ndjson',
  ])('refuses content-type %s', async (type) => {
    expectProblem(
      await gateway.call('POST', '/api/queue/enqueue', { body: '{}', headers: { 'content-type': type } }),
      415,
      'unsupported-media-type',
    );
  });

  it('refuses a body without content-type: a page of any origin could send it', async () => {
    const answer = await gateway.call('POST', '/api/queue/enqueue', { body: new Blob([JSON.stringify(task())]) });
    expectProblem(answer, 415, 'unsupported-media-type');
  });

  it('refuses a compressed body', async () => {
    expectProblem(await gateway.enqueue(task(), { 'content-encoding': 'gzip' }), 415, 'unsupported-media-type');
  });

  it('refuses a request without a body', async () => {
    const answer = await gateway.call('POST', '/api/queue/enqueue');
    expect([answer.status, answer.body.code]).toEqual([400, 'invalid-argument']);
  });
});

describe('the connection', () => {
  it('answers an overlong header', async () => {
    const answer = await sendRaw(gateway.port, `GET /api/queue/stats HTTP/1.1\r\nHost: localhost\r\nX-Long: ${'x'.repeat(40_000)}\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 431 /);
    expect(answer).toContain('"code":"invalid-argument"');
  });

  it.each([
    ['binary', Buffer.from(Array.from({ length: 200 }, (_, i) => (i * 37) % 256))],
    ['TLS', Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00])],
    ['no HTTP', Buffer.from('HELLO\r\n\r\n')],
    ['two lengths', Buffer.from('POST /api/queue/enqueue HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx')],
    [
      'length and chunks',
      Buffer.from('POST /api/queue/enqueue HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx'),
    ],
  ])('answers 400 to %s', async (_name, bytes) => {
    const answer = await sendRaw(gateway.port, bytes);
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain('application/problem+json');
  });

  it('survives callers who go away in the middle', async () => {
    const head =
      'POST /api/queue/enqueue HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"queue';
    await Promise.all(Array.from({ length: 50 }, () => sendRaw(gateway.port, head, 20)));
    expect((await gateway.enqueue(task())).status).toBe(202);
  });

  it('answers unknown routes and methods', async () => {
    for (const [method, path] of [
      ['GET', '/nope'],
      ['GET', '/api/nope'],
      ['DELETE', '/api/queue/stats'],
      ['GET', '/api/queue/enqueue'],
      ['PUT', '/'],
      ['GET', '/..%2f..%2fetc/passwd'],
      ['GET', '/assets/../../package.json'],
    ] as const) {
      expectProblem(await gateway.call(method, path), 404, 'unknown-route');
    }
  });

  it('sends security headers with every answer', async () => {
    for (const path of ['/', '/docs', '/api/queue/stats', '/nope', '/api/queue/status/x']) {
      const { headers } = await gateway.get(path);
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('x-frame-options')).toBe('DENY');
      expect(headers.get('content-security-policy')).toContain("default-src 'none'");
      expect(headers.get('content-security-policy')).not.toMatch(/script-src[^;]*unsafe/);
    }
  });

  it('logs one line per request, without query, body or secrets', async () => {
    gateway.logged.length = 0;
    await gateway.post('/api/queue/enqueue?wait=1ms&token=hush', task({ task_data: 'hush' }), {
      'x-api-key': 'hush',
      authorization: 'Bearer hush',
      'x-request-id': 'my-id.1',
    });
    const lines = gateway.logged.map((line) => JSON.parse(line) as Json).filter(({ msg }) => msg === 'http:request');
    expect(lines).toEqual([
      expect.objectContaining({ method: 'POST', route: '/api/queue/enqueue', status: 400, ms: expect.any(Number), request: 'my-id.1' }),
    ]);
    expect(gateway.logged.join('')).not.toContain('hush');
  });
});

describe('paths', () => {
  it('answers one that cannot be decoded with a problem document and the security headers', async () => {
    const response = await fetch(`${gateway.url}/api/queue/status/%E0%A4%A`);
    const text = await response.text();
    expectProblem({ status: response.status, headers: response.headers, body: JSON.parse(text) as Json, text }, 400, 'invalid-argument');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
  });
});
