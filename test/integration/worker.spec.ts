import { headerValue } from '@jetlane/protocol';
import { type TaskContext, Worker } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from './services-fixture.js';
import { QUICK_RETRY, WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
beforeAll(async () => {
  site = await WorkerSite.open('worker');
  await site.schedule();
});
afterAll(() => site.close());

describe('a task', () => {
  it('goes from lane to record, with the time of every hop, and leaves nothing behind', async () => {
    const queue = site.queueName();
    const seen: unknown[] = [];
    const contexts: TaskContext[] = [];
    const worker = await site.worker({
      queue,
      handlers: {
        t: async (data: unknown, context: TaskContext) => {
          seen.push(data);
          contexts.push(context);
          return { sum: 3 };
        },
      },
    });
    const created = Date.now();
    await site.send(
      queue,
      'k',
      '{"a":1,"b":"ü"}',
      [
        ['Task-Type', 't'],
        ['Task-Created-At', String(created)],
        ['Task-Group', 'g'],
        ['traceparent', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'],
      ],
      'high',
    );
    const record = await site.reaches(queue, 'k', 'completed');
    expect(seen).toEqual([{ a: 1, b: 'ü' }]);
    expect(record).toMatchObject({
      id: `${queue}.k`,
      hop: 1,
      lane: 'high',
      type: 't',
      group: 'g',
      attempt: 1,
      result: { sum: 3 },
      worker: worker.name,
    });
    expect(record.trace).toBe('4bf92f3577b34da6a3ce929d0e0e4736');
    const { at } = record;
    expect(at.created).toBe(created);
    expect([at.stored, at.fetched, at.started, at.finished]).toEqual(
      [at.stored, at.fetched, at.started, at.finished].map(Number).sort((a, b) => a - b),
    );
    expect(contexts[0]).toMatchObject({
      id: `${queue}.k`,
      key: 'k',
      queue,
      lane: 'high',
      type: 't',
      attempt: 1,
      hop: 1,
      delivery: 1,
      fencingToken: 1001,
      group: 'g',
      createdAt: created,
    });
    expect(contexts[0]!.signal.aborted).toBe(false);
    await site.gone(queue, 'k');
    expect(await site.letter(queue, 'k')).toBeUndefined();
  });

  it('may have any payload: JSON, nothing, bytes, and a stranger’s message with subject and body only', async () => {
    const queue = site.queueName();
    const got = new Map<string, unknown>();
    await site.worker({
      queue,
      handlers: { t: (data: unknown, { key }: TaskContext) => void got.set(key, data) },
      definition: { defaultType: 't' },
    });
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    await Promise.all([
      site.send(queue, 'array', '[1,null,"x"]'),
      site.send(queue, 'empty'),
      site.send(queue, 'null', 'null'),
      site.send(queue, 'bytes', bytes, [['Content-Type', 'application/octet-stream']]),
      site.send(queue, 'none', '', [['Content-Type', 'image/png']]),
      site.send(queue, 'charset', '{"a":1}', [['Content-Type', 'application/json; charset=utf-8']]),
      site.send(queue, 'vendor', '{"a":2}', [['Content-Type', 'application/vnd.x+json']]),
      site.send(queue, 'capital', '{"a":3}', [['Content-Type', 'Application/JSON']]),
      site.send(queue, 'lines', '{"a":4}\n{"a":5}', [['Content-Type', 'application/jsonl']]),
      site.send(queue, 'notype', '1', [['Task-Type', '']]),
    ]);
    await site.drained(queue);
    expect(Object.fromEntries([...got].filter(([, value]) => !(value instanceof Uint8Array)))).toEqual({
      array: [1, null, 'x'],
      empty: undefined,
      null: null,
      charset: { a: 1 },
      vendor: { a: 2 },
      capital: { a: 3 },
      notype: 1,
    });
    expect([...(got.get('bytes') as Uint8Array)]).toEqual([...bytes]);
    expect((got.get('none') as Uint8Array).length).toBe(0);
    expect(Buffer.from(got.get('lines') as Uint8Array).toString()).toBe('{"a":4}\n{"a":5}');
  });

  it.each([
    ['undefined', () => undefined, undefined],
    ['null', () => null, null],
    ['a promise of a text', async () => 'ü', 'ü'],
    // biome-ignore lint/suspicious/noThenProperty: query builders are made so
    ['a lazy thenable, such as a query builder', () => ({ then: (done: (value: number) => void) => void setTimeout(done, 1, 42) }), 42],
    ['a function, which JSON leaves out', () => () => 1, undefined],
  ])('may return %s', async (_, handle, result) => {
    const queue = site.queueName();
    await site.worker({ queue, handlers: { t: handle } });
    await site.task(queue, 'k', 't');
    expect((await site.reaches(queue, 'k', 'completed')).result).toEqual(result);
  });

  it.each([
    ['invalid JSON', '{"a":', [['Task-Type', 't']], 'undecodable-payload'],
    ['no type', '{}', [], 'no-type'],
    [
      'a hop that is no number',
      '{}',
      [
        ['Task-Type', 't'],
        ['Task-Hop', 'abc'],
      ],
      'invalid-headers',
    ],
    [
      'a negative attempt',
      '{}',
      [
        ['Task-Type', 't'],
        ['Task-Attempt', '-1'],
      ],
      'invalid-headers',
    ],
    [
      'a huge hop',
      '{}',
      [
        ['Task-Type', 't'],
        ['Task-Hop', '99999999999999999999'],
      ],
      'invalid-headers',
    ],
    [
      'a timeout of 0',
      '{}',
      [
        ['Task-Type', 't'],
        ['Task-Timeout', '0'],
      ],
      'invalid-headers',
    ],
  ] as const)('with %s is a dead letter at once, and never runs', async (_, body, headers, reason) => {
    const queue = site.queueName();
    let runs = 0;
    await site.worker({ queue, handlers: { t: () => void runs++ } });
    await site.send(queue, 'k', body, headers);
    const letter = await site.buried(queue, 'k');
    expect(letter).toMatchObject({ reason, error: { code: reason } });
    expect(Buffer.from(letter.data).toString()).toBe(body);
    for (const [name, value] of headers) if (name !== 'Task-Hop') expect(headerValue(letter.headers, name)).toBe(value);
    expect(runs).toBe(0);
  });

  it('of a type that nobody handles is retried, since a deployment may be under way, and then dead for that reason', async () => {
    const queue = site.queueName();
    await site.worker({ queue, handlers: { known: () => 1 }, definition: { retry: QUICK_RETRY } });
    await site.task(queue, 'k', 'knows');
    const letter = await site.buried(queue, 'k');
    expect(letter).toMatchObject({ reason: 'no-handler', hop: 3 });
    expect(letter.error.message).toContain('did you mean "known"?');
    expect(letter.history).toHaveLength(3);
  });

  it.each(['constructor', '__proto__', 'toString'])('of type %s finds no handler in the prototype', async (type) => {
    const queue = site.queueName();
    await site.worker({ queue, handlers: {}, definition: { retry: { attempts: 1 } } });
    await site.task(queue, 'k', type);
    expect((await site.buried(queue, 'k')).reason).toBe('no-handler');
  });

  it.each([
    ['too long', () => 'x'.repeat(300_000)],
    [
      'circular',
      () => {
        const ring: { self?: unknown } = {};
        ring.self = ring;
        return ring;
      },
    ],
    ['a bigint', () => 1n],
    [
      'of a toJSON that throws',
      () => ({
        toJSON: () => {
          throw new Error('no');
        },
      }),
    ],
  ])('whose result is %s is dead, with a typed reason', async (_, handle) => {
    const queue = site.queueName();
    await site.worker({ queue, handlers: { t: handle } });
    await site.task(queue, 'k', 't');
    expect((await site.buried(queue, 'k')).reason).toBe('result-too-large');
  });

  it('whose payload fills the server’s limit is still dead, and not lost', async () => {
    const queue = site.queueName();
    await site.worker({
      queue,
      handlers: {
        t: () => {
          throw new Error('x'.repeat(900));
        },
      },
      definition: { retry: { attempts: 2 }, maxPayload: 4_194_304 },
    });
    const body = `"${'a'.repeat(4_193_400)}"`;
    await site.task(queue, 'k', 't');
    await site.send(queue, 'big', body, [['Task-Type', 't']]);
    const letter = await site.buried(queue, 'big');
    expect(letter).toMatchObject({ reason: 'payload-too-large', error: { name: 'Error' } });
    expect(letter.data.length).toBe(body.length);
  });
});

describe('a deadline', () => {
  it('that has passed while the task waited: cancelled as expired, never run; one ahead does not matter', async () => {
    const queue = site.queueName();
    const ran: string[] = [];
    await site.worker({ queue, handlers: { t: (_: unknown, { key }: TaskContext) => void ran.push(key) } });
    await site.send(queue, 'late', '{}', [
      ['Task-Type', 't'],
      ['Task-Deadline', String(Date.now() - 1000)],
    ]);
    await site.send(queue, 'early', '{}', [
      ['Task-Type', 't'],
      ['Task-Deadline', String(Date.now() + 3_600_000)],
    ]);
    await eventually(
      'both are settled',
      async () => (await site.record(queue, 'late'))?.state === 'cancelled' && (await site.record(queue, 'early'))?.state === 'completed',
    );
    expect(await site.record(queue, 'late')).toMatchObject({ reason: 'expired' });
    expect(ran).toEqual(['early']);
  });
});

describe('options', () => {
  it.each([
    [{ concurrency: 0 }, 'concurrency'],
    [{ concurrency: 1.5 }, 'concurrency'],
    [{ settleWindow: 0 }, 'settleWindow'],
    [{ name: 'two words' }, 'name'],
    [{ name: 'a.b' }, 'name'],
    [{ queue: 'No.Queue' }, 'name'],
    [{ definition: { lease: '10ms' } }, 'lease'],
  ])('%o is refused before anything is written', async (wrong, field) => {
    const worker = new Worker(site.connection, { queue: site.queueName(), handlers: {}, ...wrong });
    await expect(worker.start()).rejects.toMatchObject({
      code: 'invalid-configuration',
      message: expect.stringContaining(field) as string,
    });
    expect(worker.health().state).toBe('idle');
  });
});
