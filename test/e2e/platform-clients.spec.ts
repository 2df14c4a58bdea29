import { leaderGet, type StoredMessage } from '@jetlane/jetstream';
import { HEADER, headerValue } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/wait-until.js';
import { Collector } from './platform-collector.js';
import { type Json, PATIENCE, purchase, SERVICE_NAMES, Site } from './platform-fixture.js';
import { type Headers, noise, Stranger } from './platform-stranger.js';

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
    ['bytes for a handler that wants JSON', 'd-typed', noise(5000), [...PURCHASE, ['Content-Type', 'application/octet-stream']], 'fatal'],
    ['JSON that is cut off', 'd-cut', '{"user_id":', PURCHASE, 'undecodable-payload'],
    ['JSON of another shape', 'd-shape', '[[[1]]]', PURCHASE, 'fatal'],
    ['JSON nested without end', 'd-deep', '['.repeat(200_000), PURCHASE, 'undecodable-payload'],
    ['no payload', 'd-empty', '', PURCHASE, 'fatal'],
    ['a hop that is no number', 'd-hop', '{}', [...PURCHASE, ['Task-Hop', 'abc']], 'invalid-headers'],
    ['an attempt below one', 'd-attempt', '{}', [...PURCHASE, ['Task-Attempt', '-1']], 'invalid-headers'],
    ['a time that is none', 'd-time', '{}', [...PURCHASE, ['Task-Created-At', 'yesterday']], 'invalid-headers'],
    ['a timeout beyond all numbers', 'd-timeout', '{}', [...PURCHASE, ['Task-Timeout', '1e999']], 'invalid-headers'],
    ['800 KB of headers', 'd-headers', '{}', filler(800_000), 'no-type'],
    ['a type of 300 KB', 'd-longtype', '{}', [[HEADER.type, 'x'.repeat(300_000)], ['Task-Retry', 'attempts=1']], 'no-handler'],
    ['a history that is none', 'd-errors', '{}', [['Task-Errors', '{"attempt":'], ['Task-Retry', '=,=']], 'no-type'],
  ];
  it.each(dead)('%s: a dead letter that tells why, visible', async (_what, key, body, headers, reason) => {
    await submit(key, body, headers);
    expect(await site.reaches(`default.${key}`, 'dead')).toMatchObject({ reason, lane: 'high', at: { stored: expect.any(Number) } });
    const letter = await read('deadLetters', key);
    expect(letter && headerValue(letter.headers, HEADER.deadReason)).toBe(reason);
    expect(Buffer.from(letter!.data).equals(Buffer.from(body))).toBe(true);
  });

  const odd: [what: string, headers: Headers, statusLine?: number][] = [
    ['800 KB of headers', [...PURCHASE, ...filler(800_000)]],
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
  it.each(KEYS)('a key that only NATS allows is settled: %.20s', async (key) => {
    const record = async (of: string) => JSON.parse(Buffer.from((await read('taskStates', of))?.data ?? '{}').toString()) as Json;
    const settled = (of: string, state: string) =>
      eventually(`${of} becomes ${state}`, async () => (await record(of)).state === state, PATIENCE);
    await submit(key, json({ user_id: 'strange', amount: 1 }), PURCHASE);
    await submit(`${key}-dead`, '{}');
    // Goes round by a timer and the scheduler before it is given up.
    await submit(`${key}-retry`, '{}', [[HEADER.type, 'nobody_knows'], ['Task-Retry', 'attempts=2,initialDelay=50ms']]);
    await settled(key, 'completed');
    await settled(`${key}-dead`, 'dead');
    await settled(`${key}-retry`, 'dead');
    expect(await record(`${key}-retry`)).toMatchObject({ reason: 'no-handler', attempt: 2, hop: 2 });
    expect(await site.get(`/api/queue/status/default.${encodeURIComponent(key)}`)).toMatchObject({
      status: 400,
      body: { code: 'invalid-argument' },
    });
  });

  it('a task that grows too large for its lane while it is retried is a dead letter, not lost', async () => {
    const body = json('x'.repeat(1_048_000));
    await submit('grows', body, [[HEADER.type, 'nobody_knows'], ['Task-Retry', 'attempts=3,initialDelay=50ms'], ...filler(65_000)]);
    await site.reaches('default.grows', 'dead');
    expect(Buffer.from((await read('deadLetters', 'grows'))!.data).toString()).toBe(body);
  });

  it('garbage on every subject of the platform: no process dies, nothing is lost', async () => {
    const bodies = ['', 'null', '[]', '{"', '{"hop":1}', json({ queue: 'default', worker: 'x', lanes: { high: null } }), noise(300)];
    const streams = ['schedules.default.g', 'schedules.a.b.c', 'due.default.high.g', 'due.g', 'due.x.y.z.u', 'due.nowhere.high.g'];
    streams.push('states.default.g', 'states.g.h.i', 'dead.default.g', 'dead.g', 'metrics.default.g', 'metrics.default._base', 'metrics.g');
    streams.push('$KV.queues.garbage', '$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.x.workers');
    for (const subject of streams) for (const body of bodies) await stranger.store(subject, body);
    await stranger.store('$KV.queues.wrong', json({ name: 'wrong', lease: 'never', workers: -1 }));
    await stranger.store('dead.default.h', '', [['Task-Hop', 'x'], ['Task-Dead-Error', '{'], ['Task-Errors', '[1]'], ['Task-Dead-Source', ':']]);
    await stranger.store('due.default.low.real', json({ user_id: 'due', amount: 4 }), PURCHASE);
    const listeners = ['heartbeats.default.g', 'heartbeats.ping', 'svc.queue-manager.stats', 'svc.analytics.stats', 'svc.resiliency.redrive'];
    for (const subject of listeners) for (const body of bodies) stranger.tell(subject, body, 'nobody.listens.here');

    await site.reaches('default.real', 'completed');
    // What cannot be a task is passed over; what can be one, though it names no type, is given up in the open.
    await site.reaches('default.g', 'dead');
    for (const key of ['g', 'h', 'real']) expect((await site.get(`/api/queue/status/default.${key}`)).status).toBe(200);
    expect((await site.get('/api/queue/stats')).body.missing).toEqual([]);
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
