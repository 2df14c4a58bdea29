import type { QueuedTask } from '@jetlane/client';
import { ensureQueue, openQueueBucket, removeQueue } from '@jetlane/jetstream';
import {
  headerText,
  headerValue,
  type JetlaneError,
  LANES,
  type Lane,
  parseRetryHeader,
  parseTaskHeaders,
  type QueueDefinition,
  QueueFullError,
} from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { storedSubjects } from '../support/broker.js';
import { Installation } from '../support/installation.js';
import { LinkProxy } from '../support/link-proxy.js';
import { eventually, rejection } from '../support/wait-until.js';

let all: Installation;

beforeAll(async () => {
  all = await Installation.open(
    'client',
    { name: 'default' },
    { name: 'high_priority' },
    { name: 'typed', defaultType: 'mail' },
    { name: 'small', maxDepth: 3, maxPayload: 100 },
    { name: 'bulk' },
  );
});
afterAll(() => all.close());

describe('enqueue', () => {
  it('stores one message, with the headers of the wire and nothing else', async () => {
    const receipt = await all.client.enqueue('default', {
      type: 'mail',
      data: { to: 'é' },
      lane: 'high',
      group: 'g',
      traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
      tracestate: 'a=b',
    });
    expect(receipt).toEqual({
      id: expect.stringMatching(/^default\.[\w-]{22}$/),
      queue: 'default',
      lane: 'high',
      state: 'queued',
      duplicate: false,
    });
    const key = receipt.id.slice('default.'.length);
    const { copies, recordSequence } = await all.store.traces('default', key);
    expect(recordSequence).toBe(0);
    expect(copies).toHaveLength(1);
    expect(new TextDecoder().decode(copies[0]!.stored.data)).toBe('{"to":"é"}');
    expect(copies[0]!.stored.headers.filter(([name]) => !/^nats-(stream|subject|sequence|time-stamp|num-pending)$/i.test(name))).toEqual([
      ['Nats-Msg-Id', `${key}#1`],
      ['Task-Type', 'mail'],
      ['Task-Created-At', expect.stringMatching(/^\d{13}$/)],
      ['Task-Group', 'g'],
      ['traceparent', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'],
      ['tracestate', 'a=b'],
    ]);
  });

  it('carries the rules of its own as headers, also by a timer', async () => {
    const rules = {
      retry: { attempts: 2, initialDelay: '3s', backoff: 'fixed' },
      timeout: '2s',
      deadline: new Date(1_900_000_000_000),
      replyTo: 'client.replies.me.1',
    } as const;
    const at = [
      await all.client.enqueue('default', { type: 'mail', ...rules }),
      await all.client.enqueue('default', { type: 'mail', delay: '1h', ...rules }),
    ];
    for (const { id } of at) {
      const { copies } = await all.store.traces('default', id.slice('default.'.length));
      expect(parseTaskHeaders(headerText(copies[0]!.stored.headers))).toMatchObject({
        timeout: 2000,
        deadline: 1_900_000_000_000,
        reply: 'client.replies.me.1',
      });
      expect(parseRetryHeader(headerValue(copies[0]!.stored.headers, 'Task-Retry')!)).toEqual(rules.retry);
    }
  });

  it('goes to the lane that is named, or to a timer', async () => {
    for (const lane of LANES) expect((await all.client.enqueue('default', { type: 'mail', lane })).lane).toBe(lane);
    const { id, state } = await all.client.enqueue('default', { type: 'mail', delay: '1h' });
    expect(state).toBe('scheduled');
    expect((await all.store.traces('default', id.slice('default.'.length))).copies).toMatchObject([{ place: 'timer', hop: 1 }]);
  });

  it('takes bytes with a media type, any JSON value, and a task without payload', async () => {
    const body = async (task: object) => {
      const { id } = await all.client.enqueue('typed', task);
      return Buffer.from((await all.store.traces('typed', id.slice('typed.'.length))).copies[0]!.stored.data).toString('latin1');
    };
    expect(await body({ data: new Uint8Array([0, 255, 10]), contentType: 'application/octet-stream' })).toBe('\x00\xff\n');
    expect([await body({ data: null }), await body({ data: [1, 'a'] }), await body({ data: 0 }), await body({})]).toEqual([
      'null',
      '[1,"a"]',
      '0',
      '',
    ]);
  });

  it('an unknown queue is refused, with the name that was meant', async () => {
    const error = await rejection(all.client.enqueue('defualt', { type: 'mail' }));
    expect(error).toMatchObject({ code: 'unknown-queue', retryable: false, details: { suggestion: 'default' } });
    for (const queue of ['', 'a.b', 'x'.repeat(10_000), '>', 'Default'])
      expect(await rejection(all.client.enqueue(queue, { type: 'mail' })), queue).toMatchObject({ code: 'unknown-queue' });
    expect(await rejection(all.client.enqueue(undefined as never, { type: 'mail' }))).toMatchObject({ code: 'invalid-argument' });
  });

  it('whatever is wrong with a task is said before anything is sent', async () => {
    const cyclic: Record<string, unknown> = {};
    cyclic.self = cyclic;
    const wrong: [object | undefined, string][] = [
      [undefined, 'task'],
      [{}, 'type'],
      [{ type: '' }, 'type'],
      [{ type: 'a b' }, 'type'],
      [{ type: 'mail\r\nTask-Hop: 9' }, 'type'],
      [{ type: 'mail', lane: 'urgent' }, 'lane'],
      [{ type: 'mail', lane: '*' }, 'lane'],
      [{ type: 'mail', key: 'a.b' }, 'key'],
      [{ type: 'mail', key: '' }, 'key'],
      [{ type: 'mail', delay: -1 }, 'delay'],
      [{ type: 'mail', delay: 'soon' }, 'delay'],
      [{ type: 'mail', delay: '1000000d' }, 'delay'],
      [{ type: 'mail', data: new Uint8Array(1) }, 'contentType'],
      [{ type: 'mail', data: cyclic }, 'data'],
      [{ type: 'mail', data: 1n }, 'data'],
      [{ type: 'mail', data: () => 1 }, 'data'],
      [{ type: 'mail', retry: { attempts: 0 } }, 'retry'],
      [{ type: 'mail', timeout: 'long' }, 'timeout'],
      [{ type: 'mail', deadline: new Date('never') }, 'deadline'],
      [{ type: 'mail', replyTo: 'tasks.default.high.x' }, 'replyTo'],
      [{ type: 'mail', replyTo: '_INBOX.a\r\nNats-TTL: 1s' }, 'replyTo'],
    ];
    const before = await all.messages(all.connection.names.taskStates);
    for (const [task, field] of wrong)
      expect(await rejection(all.client.enqueue('default', task as never)), field).toMatchObject({
        code: 'invalid-argument',
        details: { field },
      });
    for (const header of ['group', 'contentType', 'tracestate'] as const) {
      const injected = {
        type: 'mail',
        traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
        [header]: 'x\r\nNats-TTL: 1s',
      };
      expect(await rejection(all.client.enqueue('default', injected)), header).toMatchObject({ code: 'invalid-headers' });
    }
    expect(await all.messages(all.connection.names.taskStates)).toBe(before);
  });

  it('a payload beyond the queue’s limit is refused before its key is used up', async () => {
    expect(await rejection(all.client.enqueue('small', { type: 'mail', data: 'x'.repeat(100), key: 'big' }))).toMatchObject({
      code: 'payload-too-large',
      details: { bytes: 102, maxPayload: 100 },
    });
    expect(await rejection(all.client.status('small.big'))).toMatchObject({ code: 'task-not-found' });
    expect((await all.client.enqueue('small', { type: 'mail', data: 'x'.repeat(98), key: 'big' })).duplicate).toBe(false);
  });

  it('a full queue says so, and takes tasks again when there is room', async () => {
    await eventually(
      'the queue is full',
      async () =>
        (await rejection(all.client.enqueue('small', { type: 'mail', lane: 'low' })).catch(() => ({ code: '' }))).code === 'queue-full',
    );
    await (await all.connection.admin()).streams.purge(all.connection.names.lane('small', 'low').stream);
    await all.client.enqueue('small', { type: 'mail', lane: 'low' });
  });
});

describe('queues', () => {
  it('that are defined, changed and removed later are noticed', async () => {
    const producer = await all.producer();
    await producer.start();
    const bucket = await openQueueBucket(all.connection);
    await bucket.put('late', { name: 'late', defaultType: 'a' });
    await eventually('it is known', () => producer.queueNames().includes('late'));
    await bucket.put('late', { name: 'late', defaultType: 'b' });
    await eventually('the change is known', async () => (await producer.definition('late')).defaultType === 'b');
    await all.connection.publish('$KV.client_queues.late', new Uint8Array(0), Buffer.from('NATS/1.0\r\nKV-Operation: DEL\r\n\r\n'));
    await eventually('it is gone', () => !producer.queueNames().includes('late'));
    expect(await rejection(producer.enqueue('late', {}))).toMatchObject({ code: 'unknown-queue' });
  });

  it('what is no definition is no queue', async () => {
    const bucket = await openQueueBucket(all.connection);
    for (const [key, value] of [
      ['null', null],
      ['text', 'x'],
      ['stolen', { name: 'default' }],
      ['nameless', {}],
    ] as const) {
      await bucket.put(key, value as unknown as QueueDefinition);
      expect(await rejection(all.client.enqueue(key, { type: 'mail' })), key).toMatchObject({ code: 'unknown-queue' });
    }
    expect(all.client.queueNames()).toEqual(expect.not.arrayContaining(['null', 'text', 'stolen', 'nameless']));
  });

  it('stats count what waits, what is scheduled and how old it is', async () => {
    for (let i = 0; i < 3; i++) await all.client.enqueue('high_priority', { type: 'mail', lane: 'low' });
    await all.client.enqueue('high_priority', { type: 'mail', delay: '1h' });
    const [stats] = await all.client.stats('high_priority');
    expect(stats).toMatchObject({ queue: 'high_priority', depth: 3, active: 0, scheduled: 1, dead: 0, paused: false });
    expect(stats!.lanes.low.depth).toBe(3);
    expect(stats!.lanes.low.oldestAgeMs).toBeLessThan(60_000);
    expect(stats!.lanes.critical).toEqual({ depth: 0, ackPending: 0, oldestAgeMs: null });
    expect(await rejection(all.client.stats('none'))).toMatchObject({ code: 'unknown-queue' });
  });
});

describe('enqueueMany', () => {
  const many = async function* (count: number): AsyncGenerator<QueuedTask> {
    for (let i = 0; i < count; i++) yield { queue: 'bulk', type: 'mail', data: { n: i, text: 'x'.repeat(100) } };
  };

  it('200,000 tasks from an async input take bounded memory, and none is lost', async () => {
    const producer = await all.producer();
    await producer.enqueueMany(many(5000));
    global.gc?.();
    const before = process.memoryUsage.rss();
    let most = 0;
    let receipts = 0;
    const onReceipt = () => {
      if (++receipts % 5000 === 0) most = Math.max(most, process.memoryUsage.rss());
    };
    expect(await producer.enqueueMany(many(195_000), { onReceipt })).toEqual({ accepted: 195_000, duplicates: 0, failed: 0 });
    expect(receipts).toBe(195_000);
    // All tasks at once would take far more: about 1 kB each for a promise, a publish and its buffers.
    expect((most - before) / 1024 ** 2).toBeLessThan(150);
    expect(await all.messages(all.connection.names.lane('bulk', 'normal').stream)).toBe(200_000);
    await removeQueue(all.connection, 'bulk');
  });

  it('tells the fate of every task by its place in the input; a bad one stops nothing', async () => {
    const tasks = [
      { queue: 'typed' },
      { queue: 'none' },
      { queue: 'typed', lane: 'urgent' },
      null,
      { queue: 'typed', key: 'one' },
      { queue: 'typed', key: 'one' },
      { queue: 'typed', data: 1n },
      {},
    ] as QueuedTask[];
    const good: number[] = [];
    const bad: Record<number, string> = {};
    const summary = await all.client.enqueueMany(tasks, {
      onReceipt: (_, index) => good.push(index),
      onError: (error, index) => (bad[index] = (error as JetlaneError).code),
    });
    expect(summary).toEqual({ accepted: 3, duplicates: 1, failed: 5 });
    expect(good.sort()).toEqual([0, 4, 5]);
    expect(bad).toEqual({ 1: 'unknown-queue', 2: 'invalid-argument', 3: 'invalid-argument', 6: 'invalid-argument', 7: 'invalid-argument' });
  });

  it.each([
    ['one lane', (): Lane => 'normal'],
    ['two lanes in turn', (n: number): Lane => (n % 2 ? 'high' : 'normal')],
  ] as const)('beyond the depth of %s, exactly as many are accepted as fit, and exactly those are stored', async (_what, laneOf) => {
    const queue = `deep-${_what.length}`;
    await ensureQueue(all.connection, { name: queue, maxDepth: 10 });
    const proxy = await LinkProxy.open(all.broker.server.url);
    const client = await all.producer({ servers: proxy.url });
    let batched = 0;
    proxy.fromClient = ({ reply }) => {
      if (reply.endsWith('.$FI')) batched++;
    };
    const errors = new Map<number, unknown>();
    const receipts = new Map<number, string>();
    const summary = await client.enqueueMany(
      Array.from({ length: 50 }, (_, n) => ({ queue, type: 't', data: n, lane: laneOf(n) })),
      { onError: (error, index) => void errors.set(index, error), onReceipt: ({ id }, index) => void receipts.set(index, id) },
    );
    expect(batched, 'sent in batches first').toBe(50);
    const room = new Set(Array.from({ length: 50 }, (_, n) => laneOf(n))).size * 10;
    expect(summary).toEqual({ accepted: room, duplicates: 0, failed: 50 - room });
    expect([...errors.values()].every((error) => error instanceof QueueFullError)).toBe(true);
    expect([...errors.keys(), ...receipts.keys()].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, n) => n));
    expect(await all.client.stats(queue)).toMatchObject([{ depth: room }]);
    for (const [index, id] of receipts) expect(await all.client.status(id), `task ${index}`).toMatchObject({ state: 'queued' });
    await client.close();
    await proxy.close();
  });

  it('stops reading at an abort', async () => {
    const controller = new AbortController();
    let read = 0;
    const endless = async function* (): AsyncGenerator<QueuedTask> {
      for (;;) {
        if (++read === 100) controller.abort();
        yield { queue: 'typed' };
      }
    };
    const summary = await all.client.enqueueMany(endless(), { signal: controller.signal });
    expect([summary.accepted, read]).toEqual([99, 100]);
  });

  it('rejects with what the input or a listener threw, after what was read is stored', async () => {
    const producer = await all.producer();
    const before = await all.messages(all.connection.names.lane('typed', 'normal').stream);
    const broken = async function* (): AsyncGenerator<QueuedTask> {
      for (let i = 0; i < 10; i++) yield { queue: 'typed' };
      throw new Error('file ended early');
    };
    expect((await rejection(producer.enqueueMany(broken()))).message).toBe('file ended early');
    expect(await all.messages(all.connection.names.lane('typed', 'normal').stream)).toBe(before + 10);
    const listener = () => {
      throw new Error('broken listener');
    };
    expect(
      (await rejection(producer.enqueueMany([{ queue: 'typed' }, { queue: 'none' }], { onReceipt: listener, onError: listener }))).message,
    ).toBe('broken listener');
  });

  it('keeps what it stores apart from what another does at the same time', async () => {
    const before = Object.keys(await storedSubjects(all.connection, all.connection.names.lane('default', 'low').stream)).length;
    const producers = await Promise.all(Array.from({ length: 4 }, () => all.producer()));
    const task: QueuedTask = { queue: 'default', type: 'mail', lane: 'low' };
    await Promise.all(producers.map((producer) => producer.enqueueMany(Array.from({ length: 500 }, () => task))));
    expect(Object.keys(await storedSubjects(all.connection, all.connection.names.lane('default', 'low').stream)).length).toBe(
      before + 2000,
    );
  });
});
