import { connect } from 'node:net';
import { waitUntil } from '@jetlane/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GatewayFixture, type Json } from './gateway-fixture.js';

let gateway: GatewayFixture;

beforeAll(async () => {
  gateway = await GatewayFixture.start();
});

afterAll(() => gateway.stop());

const PATH = '/api/queue/enqueue/batch';
const NDJSON = { 'content-type': 'application/x-ndjson' };
const task = (over: Json = {}): Json => ({ queue_name: 'default', task_type: 'noop', task_data: 1, ...over });
const line = (over: Json = {}): string => JSON.stringify(task(over));
const errors = (body: Json): unknown[] => (body.errors as Json[]).map(({ line, code }) => [line, code]);

async function depth(queue: string): Promise<number> {
  const stats = await gateway.admin.admin();
  const { state } = await stats.streams.info(gateway.admin.names.lane(queue, 'normal').stream);
  return state.messages;
}

async function* lines(count: number, make: (i: number) => string): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < count; i += 500) {
    yield Buffer.from(Array.from({ length: Math.min(500, count - i) }, (_, j) => `${make(i + j)}\n`).join(''));
  }
}

const upload = (body: AsyncGenerator<Uint8Array>, headers: Record<string, string> = {}) =>
  gateway.call('POST', PATH, {
    body: ReadableStream.from(body) as unknown as BodyInit,
    duplex: 'half',
    headers: { ...NDJSON, ...headers },
  });

describe('NDJSON', () => {
  it('stores every good line and tells the bad ones', async () => {
    const before = await depth('default');
    const body = [
      line(),
      '{',
      '',
      line({ priority: 9 }),
      line({ queue_name: 'defualt' }),
      '\u0000\u0001',
      '[]',
      line({ task_id: 'b1' }),
      line({ task_id: 'b1' }),
      line({ bogus: 1 }),
      '   ',
      line(),
    ].join('\n');
    const { status, body: summary } = await gateway.call('POST', PATH, { body, headers: NDJSON });
    expect(status).toBe(202);
    expect(summary).toMatchObject({ accepted: 4, duplicates: 1, failed: 6 });
    expect(errors(summary).sort()).toEqual([
      [10, 'invalid-argument'],
      [2, 'invalid-json'],
      [4, 'invalid-argument'],
      [5, 'unknown-queue'],
      [6, 'invalid-json'],
      [7, 'invalid-argument'],
    ]);
    expect(await depth('default')).toBe(before + 3);
  });

  it('takes lines cut at any byte, CRLF, and a content-type with charset', async () => {
    const text = Buffer.from(`${line({ task_data: 'äöü€😀' })}\r\n${line()}\r\n`);
    const bytes = async function* (): AsyncGenerator<Uint8Array> {
      for (const byte of text) yield Buffer.from([byte]);
    };
    const { body } = await upload(bytes(), { 'content-type': 'application/x-ndjson; charset=utf-8' });
    expect(body).toEqual({ accepted: 2, duplicates: 0, failed: 0, errors: [] });
  });

  it('refuses one overlong line without keeping it', async () => {
    const body = `${line()}\n${line({ task_data: 'x'.repeat(3_000_000) })}\n${line()}\n`;
    const { body: summary } = await gateway.call('POST', PATH, { body, headers: NDJSON });
    expect(summary).toMatchObject({ accepted: 2, failed: 1 });
    expect(errors(summary)).toEqual([[2, 'payload-too-large']]);
  });

  it('counts all errors but lists a thousand', async () => {
    const { body } = await upload(lines(2500, () => 'x'));
    expect([body.accepted, body.failed, (body.errors as Json[]).length]).toEqual([0, 2500, 1000]);
  });

  it('tells lines that a full queue refused', async () => {
    const { body } = await upload(lines(10, () => line({ queue_name: 'tiny' })));
    expect(body).toMatchObject({ accepted: 2, failed: 8 });
    expect(new Set((body.errors as Json[]).map(({ code }) => code))).toEqual(new Set(['queue-full']));
  });

  it('answers line by line when asked to', async () => {
    const { status, text, headers } = await upload(
      lines(3000, (i) => (i === 7 ? '{' : line({ task_data: i }))),
      { accept: 'application/x-ndjson' },
    );
    expect([status, headers.get('content-type')]).toEqual([202, 'application/x-ndjson']);
    const answers = text
      .trimEnd()
      .split('\n')
      .map((answer) => JSON.parse(answer) as Json);
    expect(answers.at(-1)).toEqual({ summary: { accepted: 2999, duplicates: 0, failed: 1 } });
    expect(
      answers
        .slice(0, -1)
        .map((answer) => Number(answer.line))
        .sort((a, b) => a - b),
    ).toEqual(Array.from({ length: 3000 }, (_, i) => i + 1));
    expect(answers.find((answer) => answer.line === 8)).toMatchObject({ code: 'invalid-json' });
    expect(answers.find((answer) => answer.line === 9)).toMatchObject({ task_id: expect.any(String), state: 'queued', duplicate: false });
  });
});

describe('JSON array', () => {
  it('stores its elements', async () => {
    const { status, body } = await gateway.post(PATH, [
      task({ task_data: '],[{"' }),
      task({ priority: 'x' }),
      5,
      task({ task_data: { a: [1, { b: '\\"' }] } }),
    ]);
    expect([status, body.accepted, body.failed]).toEqual([202, 2, 2]);
    expect(errors(body)).toEqual([
      [2, 'invalid-argument'],
      [3, 'invalid-argument'],
    ]);
  });

  it.each([
    ['[]', { accepted: 0, failed: 0 }],
    [' [ ] ', { accepted: 0, failed: 0 }],
    [`[${line()},]`, { accepted: 1, failed: 1 }],
    [`[${line()} ${line()},${line()}]`, { accepted: 1, failed: 1 }],
    [`[${line()},${line()}`, { accepted: 1, failed: 1 }],
    [`[${line()}] x`, { accepted: 1, failed: 1 }],
  ])('%.40s is read as far as it goes', async (text, expected) => {
    const { status, body } = await gateway.post(PATH, text);
    expect([status, body]).toEqual([202, expect.objectContaining(expected)]);
  });

  it.each(['', '  ', '{}', 'x', line(), '[', '"[]"'])('%j is refused', async (text) => {
    const { status, body } = await gateway.post(PATH, text);
    expect([status, body.code]).toEqual([400, 'invalid-json']);
  });

  it('may be far larger than a single body', async () => {
    const count = 20_000;
    const { body } = await gateway.post(
      PATH,
      `[${Array.from({ length: count }, (_, i) => line({ task_data: 'x'.repeat(200) + i })).join(',')}]`,
    );
    expect(body).toEqual({ accepted: count, duplicates: 0, failed: 0, errors: [] });
  });
});

it.each(['text/plain', 'text/csv'])('refuses content-type %s', async (type) => {
  const { status, body } = await gateway.call('POST', PATH, { body: line(), headers: { 'content-type': type } });
  expect([status, body.code]).toEqual([415, 'unsupported-media-type']);
});

it('keeps its memory flat over 200,000 lines and reads no faster than it stores', async () => {
  const count = 200_000;
  const before = await depth('default');
  global.gc?.();
  const start = process.memoryUsage.rss();
  let peak = 0;
  let sent = 0;
  let ahead = 0;
  const { publisher } = gateway.service.context.connection;
  const source = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of lines(count, (i) => line({ task_data: { i, fill: 'x'.repeat(150) } }))) {
      yield chunk;
      sent += 500;
      peak = Math.max(peak, process.memoryUsage.rss());
      ahead = Math.max(ahead, publisher.pending + publisher.queued);
    }
  };
  const { status, body } = await upload(source());
  expect([status, body]).toEqual([202, { accepted: count, duplicates: 0, failed: 0, errors: [] }]);
  expect(sent).toBe(count);
  expect(ahead).toBeLessThan(20_000);
  expect((peak - start) / 1_048_576).toBeLessThan(200);
  expect(await depth('default')).toBe(before + count);
});

it('keeps what was read when the caller goes away, and leaks nothing', async () => {
  const before = await depth('default');
  const sockets = () => gateway.service.app.getHttpServer().listenerCount('connection');
  const listeners = sockets();
  const socket = connect({ port: gateway.port, host: '127.0.0.1' });
  await new Promise((resolve) => socket.once('connect', resolve));
  socket.write(`POST ${PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n`);
  const text = `${line()}\n`.repeat(1000) + line().slice(0, 20);
  socket.write(`${text.length.toString(16)}\r\n${text}\r\n`);
  expect(await waitUntil(async () => (await depth('default')) === before + 1000, { timeoutMs: 5000 })).toBe(true);
  socket.destroy();
  expect(
    await waitUntil(() => gateway.logged.some((entry) => entry.includes('batch:aborted') && entry.includes('"accepted":1000')), {
      timeoutMs: 5000,
    }),
  ).toBe(true);
  expect(await depth('default')).toBe(before + 1000);
  expect(sockets()).toBe(listeners);
  expect((await gateway.enqueue(task())).status).toBe(202);
});

it('does not read a caller who does not read its answers', async () => {
  const socket = connect({ port: gateway.port, host: '127.0.0.1' });
  await new Promise((resolve) => socket.once('connect', resolve));
  socket.pause();
  socket.write(
    `POST ${PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nAccept: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n`,
  );
  const text = `${line()}\n`.repeat(1000);
  const chunk = `${text.length.toString(16)}\r\n${text}\r\n`;
  let stuck = false;
  for (let i = 0; i < 2000 && !stuck; i++) {
    if (!socket.write(chunk))
      stuck = await Promise.race([
        new Promise<boolean>((r) => socket.once('drain', () => r(false))),
        new Promise<boolean>((r) => setTimeout(() => r(true), 1500)),
      ]);
  }
  socket.destroy();
  expect(stuck).toBe(true);
  expect((await gateway.enqueue(task())).status).toBe(202);
});
