import { TaskClient } from '@jetlane/client';
import type { Heartbeat } from '@jetlane/protocol';
import type { TaskContext } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, keepingLog } from './services-fixture.js';
import { deferred, QUICK_RETRY, WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
let client: TaskClient;
beforeAll(async () => {
  site = await WorkerSite.open('context');
  await site.schedule();
  client = new TaskClient(site.connection);
});
afterAll(async () => {
  await client.close();
  await site.close();
});

describe('progress', () => {
  it('is told to listeners at once, and to everybody about once a second: the last one counts', async () => {
    const queue = site.queueName();
    const gate = deferred();
    const beats: Heartbeat[] = [];
    const told: unknown[] = [];
    const worker = await site.worker({
      queue,
      handlers: {
        t: async (_: unknown, { progress, ...context }: TaskContext) => {
          await gate.promise;
          return [typeof progress, context];
        },
        p: async (_: unknown, context: TaskContext) => {
          for (let i = 0; i <= 1000; i++) context.progress(i / 10);
          context.progress({ step: 'upload', rows: 7 });
          await gate.promise;
          return 'done';
        },
      },
    });
    worker.on('task:progress', ({ id, attempt, progress }) => told.push([id, attempt, progress]));
    const stop = site.connection.subscribe(site.connection.names.heartbeat(queue, worker.name), ({ data }) =>
      beats.push(JSON.parse(Buffer.from(data).toString()) as Heartbeat),
    );
    await site.task(queue, 'k', 'p');
    await eventually('status shows it', async () => 'progress' in (await client.status(`${queue}.k`)));
    expect(await client.status(`${queue}.k`)).toMatchObject({ state: 'running', progress: { step: 'upload', rows: 7 } });
    expect(told).toHaveLength(1002);
    expect(told[0]).toEqual([`${queue}.k`, 1, 0]);
    const shown = beats.flatMap(({ running }) => running.flatMap((run) => ('progress' in run ? [run.progress] : [])));
    expect(new Set(shown.map((progress) => JSON.stringify(progress)))).toEqual(new Set(['{"step":"upload","rows":7}']));
    expect(shown.length).toBeLessThan(100);
    gate.resolve();
    expect(await site.reaches(queue, 'k', 'completed')).toMatchObject({ result: 'done', progress: { step: 'upload', rows: 7 } });
    expect(await client.status(`${queue}.k`)).toMatchObject({ state: 'completed', progress: { step: 'upload', rows: 7 } });
    stop();
  });

  it('is cut to percent, and what cannot be told costs nothing but a line in the log', async () => {
    const queue = site.queueName();
    const log = keepingLog();
    const told: unknown[] = [];
    const circular: { self?: unknown } = {};
    circular.self = circular;
    const odd = [Number.NaN, 'half', null, undefined, circular, { text: 'x'.repeat(1100) }, () => 1, 5n];
    const late: TaskContext[] = [];
    const worker = await site.worker({
      queue,
      log,
      handlers: {
        t: (_: unknown, context: TaskContext) => {
          late.push(context);
          for (const progress of [-5, 250, ...odd]) context.progress(progress as never);
        },
      },
    });
    worker.on('task:progress', ({ progress }) => told.push(progress));
    await site.task(queue, 'k', 't');
    expect(await site.reaches(queue, 'k', 'completed')).toMatchObject({ attempt: 1, progress: 100 });
    late[0]!.progress(7);
    expect(told).toEqual([0, 100]);
    expect(log.lines.filter(({ event }) => event === 'progress:refused')).toHaveLength(odd.length);
  });

  it('of many runs does not make a heartbeat too long', async () => {
    const queue = site.queueName();
    const gate = deferred();
    let last: Heartbeat | undefined;
    const worker = await site.worker({
      queue,
      concurrency: 400,
      handlers: {
        t: async (_: unknown, context: TaskContext) => {
          context.progress({ text: 'ü'.repeat(1000) });
          await gate.promise;
        },
      },
    });
    const stop = site.connection.subscribe(site.connection.names.heartbeat(queue, worker.name), ({ data }) => {
      last = JSON.parse(Buffer.from(data).toString()) as Heartbeat;
    });
    await Promise.all(Array.from({ length: 400 }, (_, i) => site.task(queue, `k${i}`, 't')));
    await eventually('all show', () => last?.running.length === 400);
    const shown = last!.running.filter((run) => 'progress' in run).length;
    expect(shown).toBeGreaterThan(100);
    expect(shown).toBeLessThan(140);
    gate.resolve();
    stop();
    await site.drained(queue);
  });
});

describe('log', () => {
  it('goes into the worker’s log and the record; the last lines are kept', async () => {
    const queue = site.queueName();
    const log = keepingLog();
    await site.worker({
      queue,
      log,
      handlers: {
        t: (_: unknown, context: TaskContext) => {
          for (let i = 0; i < 60; i++) context.log(`line ${i}`);
          return 1;
        },
        long: (_: unknown, context: TaskContext) => {
          for (let i = 0; i < 60; i++) context.log(`${i} ${'x'.repeat(600)}`);
        },
      },
    });
    await site.task(queue, 'k', 't');
    await site.task(queue, 'long', 'long');
    const lines = (await site.reaches(queue, 'k', 'completed')).log!;
    expect(lines.map(({ text }) => text)).toEqual(Array.from({ length: 50 }, (_, i) => `line ${i + 10}`));
    expect(Math.abs(lines[0]!.at - Date.now())).toBeLessThan(20_000);
    expect((await client.status(`${queue}.k`)).log).toEqual(lines);
    const long = (await site.reaches(queue, 'long', 'completed')).log!;
    expect(long.map(({ text }) => [text.slice(0, 3), text.length])).toEqual([52, 53, 54, 55, 56, 57, 58, 59].map((n) => [`${n} `, 500]));
    const told = log.lines.filter(({ event }) => event === 'task:log').map(({ facts }) => facts);
    expect(told).toHaveLength(120);
    expect(told).toContainEqual({ id: `${queue}.k`, type: 't', attempt: 1, line: 'line 3' });
  });

  it('of a failed attempt stands in its history, in the dead letter too', async () => {
    const queue = site.queueName();
    await site.worker({
      queue,
      handlers: {
        t: (_: unknown, context: TaskContext) => {
          context.log(`try ${context.attempt}`);
          for (let i = 0; i < 40; i++) context.log(`${i} ${'ü'.repeat(100)}`);
          throw new Error('no');
        },
        short: (_: unknown, context: TaskContext) => {
          context.log(`try ${context.attempt}\r\nTask-Hop: 99`);
          throw new Error('no');
        },
      },
      definition: { retry: { ...QUICK_RETRY, attempts: 2 } },
    });
    await site.task(queue, 'k', 't');
    await site.task(queue, 'short', 'short');
    const short = await site.buried(queue, 'short');
    expect(short.hop).toBe(2);
    expect(short.history.map(({ log }) => log?.map(({ text }) => text))).toEqual([1, 2].map((n) => [`try ${n}\r\nTask-Hop: 99`]));
    expect((await client.status(`${queue}.short`)).history[1]!.log).toHaveLength(1);
    // A log that does not fit gives way to the errors.
    expect((await site.buried(queue, 'k')).history).toMatchObject([{ message: 'no' }, { message: 'no' }]);
    expect((await site.record(queue, 'k'))!.log!.length).toBeGreaterThan(30);
  });
});

describe('deadline', () => {
  it('is the end of the timeout or the task’s own, whichever is first', async () => {
    const queue = site.queueName();
    const handle = (_: unknown, { deadline }: TaskContext) => deadline ?? null;
    await site.worker({ queue, handlers: { free: handle, limited: { handle, timeout: '1h' } } });
    const soon = Date.now() + 600_000;
    const header = ['Task-Deadline', String(soon)] as const;
    await site.task(queue, 'none', 'free', {});
    await site.task(queue, 'timeout', 'limited', {});
    await site.send(queue, 'own', '{}', [['Task-Type', 'free'], header]);
    await site.send(queue, 'both', '{}', [['Task-Type', 'limited'], header]);
    const result = async (key: string) => (await site.reaches(queue, key, 'completed')).result as number | null;
    expect(await result('none')).toBeNull();
    expect(Math.abs((await result('timeout'))! - Date.now() - 3_600_000)).toBeLessThan(60_000);
    expect(await result('own')).toBe(soon);
    expect(await result('both')).toBe(soon);
  });
});

describe('a retry policy in code', () => {
  it('has its own backoff, and says which errors are final', async () => {
    const queue = site.queueName();
    const asked: unknown[] = [];
    const fail = (data: { final?: boolean }, { attempt }: TaskContext) => {
      if (data.final) throw new RangeError('out of range');
      if (attempt < 3) throw new TypeError(`try ${attempt}`);
      return attempt;
    };
    const worker = await site.worker({
      queue,
      handlers: {
        t: {
          handle: fail,
          retry: {
            jitter: 0,
            backoff: (attempt, error) => {
              asked.push([attempt, (error as Error).message]);
              return attempt * 10;
            },
            retryable: (error) => !(error instanceof RangeError),
          },
        },
      },
    });
    const delays: number[] = [];
    worker.on('task:failed', ({ retryInMs }) => delays.push(retryInMs));
    await site.task(queue, 'k', 't', {});
    await site.task(queue, 'final', 't', { final: true });
    expect(await site.reaches(queue, 'k', 'completed')).toMatchObject({ result: 3, attempt: 3 });
    expect(asked).toEqual([
      [1, 'try 1'],
      [2, 'try 2'],
    ]);
    expect(delays).toEqual([10, 20]);
    expect(await site.buried(queue, 'final')).toMatchObject({ reason: 'fatal', hop: 1, error: { name: 'RangeError' } });
  });
});
