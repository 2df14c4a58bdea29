import { type Delivery } from '@jetlane/jetstream';
import { FatalError, headerValue, JetlaneError } from '@jetlane/protocol';
import { Cancelled, RetryLater, type TaskContext } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Child } from '../support/child.js';
import { eventually } from './services-fixture.js';
import { QUICK_RETRY, SHORT_LEASE, WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
beforeAll(async () => {
  site = await WorkerSite.open('worker');
  await site.schedule();
});
afterAll(() => site.close());

/** What a handler that threw something leaves behind. */
async function burial(thrown: unknown, options: { retry?: object } = {}) {
  const queue = site.queueName();
  await site.worker({
    queue,
    handlers: {
      t: () => {
        throw thrown;
      },
    },
    definition: { retry: options.retry ?? { attempts: 1 } },
  });
  await site.task(queue, 'k', 't');
  return { queue, letter: await site.buried(queue, 'k') };
}

describe('a failing handler', () => {
  it.each([
    ['an Error', new TypeError('boom'), { name: 'TypeError', message: 'boom' }],
    ['a text', 'boom', { name: 'Error', message: 'boom' }],
    ['undefined', undefined, { name: 'Error', message: 'undefined' }],
    ['null', null, { name: 'Error', message: 'null' }],
    ['a symbol', Symbol('x'), { name: 'Error', message: 'Symbol(x)' }],
    ['an object without a prototype', Object.create(null), { name: 'Error', message: expect.any(String) as string }],
    ['an Error whose message is no text', Object.assign(new Error(), { message: 12n }), { name: 'Error', message: '12' }],
    ['a line break', new Error('a\r\nTask-Hop: 99\r\n\r\nü'), { name: 'Error', message: 'a\r\nTask-Hop: 99\r\n\r\nü' }],
  ])('may throw %s', async (_, thrown, error) => {
    const { letter } = await burial(thrown);
    expect(letter).toMatchObject({ reason: 'attempts-exhausted', hop: 1, error });
    expect(letter.history).toMatchObject([{ attempt: 1, ...error }]);
  });

  it('gives up at once on a FatalError, with its code', async () => {
    const { letter } = await burial(new FatalError('never'), { retry: { attempts: 5 } });
    expect(letter).toMatchObject({ reason: 'fatal', hop: 1, error: { name: 'FatalError', message: 'never' } });
  });

  it('is run again after a failure of the platform, which is none of its own', async () => {
    const { letter } = await burial(new JetlaneError('queue-full', 'full'), { retry: QUICK_RETRY });
    expect(letter).toMatchObject({ reason: 'attempts-exhausted', hop: 3 });
  });

  it('is run again until its attempts are spent; history, hop and fencing token rise, also in the timer', async () => {
    const queue = site.queueName();
    const seen: { attempt: number; hop: number; token: number }[] = [];
    await site.worker({
      queue,
      handlers: {
        t: (_: unknown, { attempt, hop, fencingToken }: TaskContext) => {
          seen.push({ attempt, hop, token: fencingToken });
          throw new RangeError(`try ${attempt}`);
        },
      },
      definition: { retry: { ...QUICK_RETRY, attempts: 4 } },
    });
    await site.send(queue, 'k', '{"a":1}', [
      ['Task-Type', 't'],
      ['X-Own', 'kept'],
    ]);
    const letter = await site.buried(queue, 'k');
    expect(seen).toEqual([1, 2, 3, 4].map((n) => ({ attempt: n, hop: n, token: n * 1000 + 1 })));
    expect(letter).toMatchObject({ reason: 'attempts-exhausted', hop: 4, error: { name: 'RangeError', message: 'try 4' } });
    expect(letter.history.map(({ attempt, message }) => [attempt, message])).toEqual([1, 2, 3, 4].map((n) => [n, `try ${n}`]));
    expect(letter.history[3]!.stack).toContain('RangeError');
    expect(Buffer.from(letter.data).toString()).toBe('{"a":1}');
    expect(headerValue(letter.headers, 'X-Own')).toBe('kept');
    expect(letter.headers.filter(([name]) => /^nats-schedul/i.test(name))).toEqual([]);
  });

  it('goes by the policy of its handler, field by field over the queue’s, and a task may only have fewer attempts', async () => {
    const queue = site.queueName();
    const runs: Record<string, number> = {};
    const fail = (_: unknown, { key }: TaskContext) => {
      runs[key] = (runs[key] ?? 0) + 1;
      throw new Error('no');
    };
    await site.worker({
      queue,
      handlers: { plain: fail, own: { handle: fail, retry: { attempts: 2 } } },
      definition: { retry: QUICK_RETRY },
    });
    await site.task(queue, 'queue', 'plain');
    await site.task(queue, 'handler', 'own');
    await site.send(queue, 'fewer', '', [
      ['Task-Type', 'plain'],
      ['Task-Retry', 'attempts=1'],
    ]);
    await site.send(queue, 'more', '', [
      ['Task-Type', 'own'],
      ['Task-Retry', 'attempts=50'],
    ]);
    await site.send(queue, 'nonsense', '', [
      ['Task-Type', 'own'],
      ['Task-Retry', 'attempts=;;=x'],
    ]);
    await Promise.all(['queue', 'handler', 'fewer', 'more', 'nonsense'].map((key) => site.buried(queue, key)));
    expect(runs).toEqual({ queue: 3, handler: 2, fewer: 1, more: 2, nonsense: 2 });
  });

  it('postpones by RetryLater, with and without counting; a delay that cannot be read costs nothing', async () => {
    const queue = site.queueName();
    const seen: Record<string, string[]> = {};
    const note = ({ key, attempt, hop }: TaskContext) => {
      seen[key] = [...(seen[key] ?? []), `${hop}/${attempt}`];
    };
    const twice = (delay: number | string, countsAsAttempt: boolean) => (_: unknown, context: TaskContext) => {
      note(context);
      if (context.hop < 3) throw new RetryLater(delay, { countsAsAttempt });
      return 'done';
    };
    await site.worker({
      queue,
      handlers: { counted: twice(1, true), free: twice('1ms', false), odd: twice('soon', false), never: twice(-5, true) },
      definition: { retry: { ...QUICK_RETRY, attempts: 3 } },
    });
    await Promise.all(['counted', 'free', 'odd', 'never'].map((type) => site.task(queue, type, type)));
    for (const key of ['counted', 'free', 'odd', 'never']) await site.reaches(queue, key, 'completed');
    expect(seen).toEqual({
      counted: ['1/1', '2/2', '3/3'],
      free: ['1/1', '2/1', '3/1'],
      odd: ['1/1', '2/1', '3/1'],
      never: ['1/1', '2/2', '3/3'],
    });
  });

  it('a delay of ages is cut to what a timer can hold', async () => {
    const queue = site.queueName();
    await site.worker({
      queue,
      handlers: {
        t: () => {
          throw new RetryLater('99999999d');
        },
      },
    });
    await site.task(queue, 'k', 't');
    const { names } = site.connection;
    await eventually('the timer stands', async () =>
      (await site.installation.store.traces(queue, 'k')).copies.some(({ place }) => place === 'timer'),
    );
    expect(names.timer(queue, 'k')).toBeTruthy();
  });

  it('cancelled: a handler that finds its task unwanted leaves a record with the reason', async () => {
    const queue = site.queueName();
    const worker = await site.worker({
      queue,
      handlers: {
        t: () => {
          throw new Cancelled('bought elsewhere');
        },
      },
    });
    const told: string[] = [];
    worker.on('task:cancelled', ({ reason }) => told.push(reason));
    await site.task(queue, 'k', 't');
    expect(await site.reaches(queue, 'k', 'cancelled')).toMatchObject({ hop: 1, reason: 'bought elsewhere' });
    await site.gone(queue, 'k');
    expect(await site.letter(queue, 'k')).toBeUndefined();
    expect(told).toEqual(['bought elsewhere']);
  });

  it('cancelled: a retry of a task that was cancelled meanwhile is not written', async () => {
    const queue = site.queueName();
    await site.worker({
      queue,
      handlers: {
        t: async () => {
          await site.installation.store.writeRecord(
            queue,
            'k',
            { id: `${queue}.k`, hop: 1, state: 'cancelled', attempt: 1, at: {}, reason: 'by hand' },
            60_000,
          );
          throw new Error('too late');
        },
      },
    });
    await site.task(queue, 'k', 't');
    await site.gone(queue, 'k');
    expect(await site.record(queue, 'k')).toMatchObject({ state: 'cancelled', reason: 'by hand' });
  });
});

describe('a timeout', () => {
  const retry = { attempts: 1 };

  it('fires the signal; an AbortError of the handler is reported as the timeout that it comes from', async () => {
    const queue = site.queueName();
    const wait = (_: unknown, { signal }: TaskContext) =>
      new Promise((_done, fail) => signal.addEventListener('abort', () => fail(new DOMException('aborted', 'AbortError'))));
    await site.worker({ queue, handlers: { t: { handle: wait, timeout: 50 } }, definition: { retry } });
    await site.task(queue, 'k', 't');
    const letter = await site.buried(queue, 'k');
    expect(letter).toMatchObject({
      reason: 'attempts-exhausted',
      error: { code: 'timeout', message: `task "${queue}.k" ran longer than 50 ms` },
    });
  });

  it('gives up a handler that ignores its signal; what it returns later changes nothing', async () => {
    const queue = site.queueName();
    let end: (value: string) => void = () => undefined;
    const worker = await site.worker({
      queue,
      concurrency: 1,
      handlers: { t: { handle: () => new Promise((resolve) => (end = resolve)), timeout: 50 }, quick: () => 1 },
      definition: { retry },
    });
    await site.task(queue, 'k', 't');
    await site.task(queue, 'next', 'quick');
    expect((await site.buried(queue, 'k')).error.code).toBe('timeout');
    await site.reaches(queue, 'next', 'completed');
    end('late');
    await site.task(queue, 'after', 'quick');
    await site.reaches(queue, 'after', 'completed');
    expect((await site.record(queue, 'k'))!.state).toBe('dead');
    expect(worker.health()).toMatchObject({ busy: 0, settling: 0 });
  });

  it('accepts a result that comes just after the signal; the task’s own timeout may only be shorter', async () => {
    const queue = site.queueName();
    const late = (_: unknown, { signal }: TaskContext) =>
      new Promise((resolve) => signal.addEventListener('abort', () => setTimeout(resolve, 20, 'made it')));
    await site.worker({
      queue,
      handlers: { t: { handle: late, timeout: '10s' }, short: { handle: late, timeout: 30 } },
      definition: { retry },
    });
    await site.send(queue, 'own', '', [
      ['Task-Type', 't'],
      ['Task-Timeout', '40'],
    ]);
    await site.send(queue, 'longer', '', [
      ['Task-Type', 'short'],
      ['Task-Timeout', '600000'],
    ]);
    expect((await site.reaches(queue, 'own', 'completed', 5000)).result).toBe('made it');
    expect((await site.reaches(queue, 'longer', 'completed', 5000)).result).toBe('made it');
  });
});

describe('a redelivery', () => {
  it('of a settled hop is only acknowledged', async () => {
    const queue = site.queueName();
    let runs = 0;
    const worker = await site.worker({ queue, handlers: { t: () => void runs++ }, definition: { lease: SHORT_LEASE } });
    await worker.stop();
    const at = { stored: 1 };
    const write = (key: string, hop: number, state: 'completed' | 'dead' | 'cancelled') =>
      site.installation.store.writeRecord(queue, key, { id: `${queue}.${key}`, hop, state, attempt: 1, at }, 60_000);
    await Promise.all([
      write('same', 1, 'completed'),
      write('higher', 2, 'completed'),
      write('cancelled', 1, 'cancelled'),
      write('lower', 1, 'completed'),
    ]);
    await Promise.all(['same', 'higher', 'cancelled'].map((key) => site.task(queue, key, 't')));
    await site.send(queue, 'lower', '', [
      ['Task-Type', 't'],
      ['Task-Hop', '2'],
    ]);
    await site.task(queue, 'timer', 't');
    await site.installation.timer(queue, 'timer', { hop: 2, at: Date.now() + 3_600_000 });
    const taken: Delivery[] = [];
    const letGo = site.installation.work(queue, (delivery) => void taken.push(delivery));
    await eventually('all are out once', () => taken.length === 5);
    letGo();
    for (const delivery of taken) site.connection.nak(delivery);
    await worker.start();
    await site.drained(queue);
    expect(runs).toBe(1);
    expect(await site.record(queue, 'lower')).toMatchObject({ hop: 2, state: 'completed' });
    expect(await site.record(queue, 'same')).toMatchObject({ at });
  });

  it('poison: a task that kills its worker three times is dead; it ran three times', async () => {
    const queue = site.queueName();
    const definition = { name: queue, lease: SHORT_LEASE };
    await site.define(definition);
    await site.task(queue, 'k', 'exit');
    let runs = 0;
    for (let starts = 0; runs < 3 && starts < 6; starts++) {
      const child = await Child.start('test/chaos/worker-process.ts', {
        url: site.installation.server.url,
        namespace: 'worker',
        definition,
      });
      expect((await child.exited).code).toBe(7);
      runs += child.of('ran').length;
    }
    const last = await site.worker({ queue, handlers: { exit: () => void runs++ } });
    const letter = await site.buried(queue, 'k');
    expect(letter).toMatchObject({ reason: 'poison', hop: 1 });
    expect(runs).toBe(3);
    expect(await site.record(queue, 'k')).toMatchObject({ state: 'dead', reason: 'poison', worker: last.name });
  });

  it('poison: those that stood beside it are spared', async () => {
    const queue = site.queueName();
    const definition = { name: queue, lease: SHORT_LEASE };
    await site.define(definition);
    const beside = Array.from({ length: 8 }, (_, i) => `beside${i}`);
    for (const key of beside.slice(0, 4)) await site.task(queue, key, 'sleep', { ms: 300 });
    await site.task(queue, 'k', 'exit');
    for (const key of beside.slice(4)) await site.task(queue, key, 'sleep', { ms: 300 });
    const input = { url: site.installation.server.url, namespace: 'worker', definition, concurrency: 10 };
    for (let deaths = 0; deaths < 3; deaths++)
      expect((await (await Child.start('test/chaos/worker-process.ts', input)).exited).code).toBe(7);
    await site.worker({ queue, handlers: { exit: () => undefined, sleep: () => 'done' } });
    expect(await site.buried(queue, 'k')).toMatchObject({ reason: 'poison' });
    for (const key of beside) expect(await site.reaches(queue, key, 'completed')).toMatchObject({ attempt: 1 });
  });

  it('poison: a hand-back is no crash', async () => {
    const queue = site.queueName();
    let run: 'wait' | 'end' = 'wait';
    const handle = (_: unknown, { signal }: TaskContext) =>
      run === 'end' ? 'done' : new Promise((_done, fail) => signal.addEventListener('abort', () => fail(signal.reason)));
    const worker = await site.worker({ queue, handlers: { t: handle } });
    let started = 0;
    worker.on('task:started', () => started++);
    await site.task(queue, 'k', 't');
    for (let i = 1; i <= 6; i++) {
      await eventually(`run ${i} has begun`, () => started === i);
      await worker.stop({ timeout: 0 });
      if (i === 6) run = 'end';
      await worker.start();
    }
    expect(await site.reaches(queue, 'k', 'completed')).toMatchObject({ result: 'done', attempt: 1 });
  });
});
