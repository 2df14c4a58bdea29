import { connect, leaderGet } from '@jetlane/jetstream';
import type { TaskContext, Worker } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Child } from '../support/child.js';
import { LinkProxy } from '../support/link-proxy.js';
import { eventually } from './services-fixture.js';
import { deferred, WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
beforeAll(async () => {
  site = await WorkerSite.open('drain');
});
afterAll(() => site.close());

/** Enqueues tasks `k0`, `k1`, … at a steady pace until told to stop; returns how many. */
function pour(queue: string, perTurn = 50): () => Promise<number> {
  let count = 0;
  let going = true;
  const done = (async () => {
    while (going) {
      await Promise.all(Array.from({ length: perTurn }, () => site.task(queue, `k${count++}`, 't')));
    }
  })();
  return async () => {
    going = false;
    await done;
    return count;
  };
}

async function completed(queue: string, count: number): Promise<void> {
  await site.drained(queue);
  for (let i = 0; i < count; i += 97) expect((await site.record(queue, `k${i}`))?.state, `k${i}`).toBe('completed');
  const { names } = site.connection;
  const info = await (await site.connection.admin()).streams.info(names.taskStates, { subjects_filter: names.state(queue, '*') });
  expect(Object.keys(info.state.subjects ?? {})).toHaveLength(count);
}

describe('stop', () => {
  it('under load: every task is settled, or handed to another worker at once though the lease is 30 s', async () => {
    const queue = site.queueName();
    let runs = 0;
    const handle = async () => {
      runs++;
      await new Promise((resolve) => setTimeout(resolve, 2));
    };
    const workers: Worker[] = [];
    for (const name of ['a', 'b']) workers.push(await site.worker({ queue, name, concurrency: 20, handlers: { t: handle } }));
    const end = pour(queue);
    await eventually('the load is on', () => runs > 500);
    await workers[0]!.stop();
    expect(workers[0]!.health()).toMatchObject({ state: 'idle', busy: 0, settling: 0 });
    const count = await end();
    expect(count).toBeGreaterThan(500);
    const began = performance.now();
    await completed(queue, count);
    expect(performance.now() - began).toBeLessThan(8000);
    expect(runs).toBe(count);
  });

  it('hands back what waits in the buffer, and what runs at the deadline, within a second', async () => {
    const queue = site.queueName();
    const blocker = deferred();
    const reasons: string[] = [];
    const hold = (_: unknown, { signal }: TaskContext) => {
      signal.addEventListener('abort', () => reasons.push((signal.reason as Error).name));
      return blocker.promise;
    };
    const first = await site.worker({ queue, concurrency: 2, handlers: { t: hold } });
    for (const [i, lane] of (['normal', 'normal', 'high', 'low', 'critical'] as const).entries())
      await site.task(queue, `k${i}`, 't', undefined, lane);
    await eventually(
      'two run, three wait',
      () => first.health().busy === 2 && first.health().lanes.reduce((sum, { buffered }) => sum + buffered, 0) === 3,
    );
    const taken = new Map<string, number>();
    const second = await site.worker({
      queue,
      concurrency: 10,
      handlers: { t: (_: unknown, { key }: TaskContext) => void taken.set(key, performance.now()) },
    });
    const began = performance.now();
    const stopped = first.stop({ timeout: 600 });
    await eventually('what never ran is taken over', () => taken.size === 3, 1000);
    expect(first.health()).toMatchObject({ state: 'stopping', busy: 2 });
    await stopped;
    expect(performance.now() - began).toBeGreaterThan(550);
    expect(reasons).toEqual(['Interrupted', 'Interrupted']);
    await eventually('what was aborted is taken over', () => taken.size === 5, 1000);
    await site.drained(queue);
    expect((await site.record(queue, 'k0'))!).toMatchObject({ state: 'completed', worker: second.name, attempt: 1 });
    blocker.resolve();
  });

  it('and start, twenty times under load, in any order: nothing is lost, nothing runs twice', async () => {
    const queue = site.queueName();
    const runs = new Map<string, number>();
    const handle = async (_: unknown, { key }: TaskContext) => {
      runs.set(key, (runs.get(key) ?? 0) + 1);
      await new Promise((resolve) => setTimeout(resolve, 1));
    };
    const worker = await site.worker({ queue, concurrency: 10, handlers: { t: handle } });
    const end = pour(queue, 20);
    for (let i = 0; i < 20; i++) {
      const before = runs.size;
      await eventually(`it works after start ${i}`, () => runs.size > before + 20);
      if (i % 3 === 0) await Promise.all([worker.stop(), worker.start()]);
      else if (i % 3 === 1) await Promise.all([worker.stop(), worker.stop(), worker.start(), worker.start()]);
      else {
        await worker.stop();
        expect(worker.health()).toMatchObject({ state: 'idle', busy: 0, settling: 0 });
        await worker.start();
      }
    }
    const count = await end();
    await completed(queue, count);
    expect([...runs.values()].filter((times) => times > 1)).toEqual([]);
    await Promise.all([worker.start(), worker.stop()]);
    expect(worker.health().state).toBe('idle');
  });

  it('on the last deliveries hands back by a new publication: rolling restarts use nothing up', async () => {
    const queue = site.queueName();
    const definition = { maxDeliveries: 3 };
    let end = false;
    const handle = (_: unknown, { signal }: TaskContext) =>
      end ? 'done' : new Promise((_done, fail) => signal.addEventListener('abort', () => fail(signal.reason)));
    await site.define({ name: queue, ...definition });
    for (let i = 0; i < 30; i++) await site.task(queue, `k${i}`, 't');
    const worker = await site.worker({ queue, concurrency: 10, handlers: { t: handle }, definition });
    let started = 0;
    worker.on('task:started', () => started++);
    for (let restart = 0; restart < 12; restart++) {
      const before = started;
      await eventually(`restart ${restart}: it runs again`, () => started >= before + 10);
      await worker.stop({ timeout: 0 });
      if (restart === 11) end = true;
      await worker.start();
    }
    await completed(queue, 30);
    for (let i = 0; i < 30; i++) expect(await site.letter(queue, `k${i}`)).toBeUndefined();
    expect((await site.record(queue, 'k0'))!).toMatchObject({ attempt: 1 });
  }, 60_000);

  it('behind a full lane the last deliveries go round by a timer', async () => {
    const queue = site.queueName();
    const definition = { maxDeliveries: 3, maxDepth: 1 };
    const worker = await site.worker({ queue, concurrency: 1, handlers: { t: () => new Promise(() => undefined) }, definition });
    await site.task(queue, 'k', 't');
    for (let i = 0; i < 2; i++) {
      await eventually('it runs', () => worker.health().busy === 1);
      await worker.stop({ timeout: 0 });
      if (i === 0) await worker.start();
    }
    const { names } = site.connection;
    const left = await Promise.all([
      leaderGet(site.connection, names.lane(queue, 'normal').stream, names.task(queue, 'normal', 'k')),
      leaderGet(site.connection, names.schedules, names.pattern(`*.${queue}.>`)),
    ]);
    expect(left[0]).toBeUndefined();
    expect(left[1]?.headers).toContainEqual(['Task-Hop', '2']);
  });

  it('during a reconnect ends in time; what it holds comes back', async () => {
    const queue = site.queueName();
    const proxy = await LinkProxy.open(site.installation.server.url);
    const link = await connect({ servers: proxy.url, namespace: 'drain' });
    const worker = await site.worker(
      { queue, concurrency: 1, handlers: { t: () => new Promise(() => undefined) }, definition: { lease: '1s' } },
      link,
    );
    await site.task(queue, 'k0', 't');
    await site.task(queue, 'k1', 't', undefined, 'low');
    await eventually(
      'one runs, one waits',
      () => worker.health().busy === 1 && worker.health().lanes.some(({ buffered }) => buffered === 1),
    );
    await proxy.close();
    await eventually('the link is down', () => link.state === 'reconnecting');
    const began = performance.now();
    await worker.stop({ timeout: 200 });
    expect(performance.now() - began).toBeLessThan(9000);
    expect(worker.health().state).toBe('idle');
    await link.close();
    await site.worker({ queue, handlers: { t: () => 'heir' } });
    await completed(queue, 2);
  });

  it('after the connection was closed by hand does not throw', async () => {
    const link = await site.installation.link();
    const worker = await site.worker({ queue: site.queueName(), handlers: {} }, link);
    await link.close();
    await worker.stop();
    expect(worker.health()).toMatchObject({ state: 'idle', connected: false });
  });

  it('refuses a timeout that is none, and can be asked again', async () => {
    const worker = await site.worker({ queue: site.queueName(), handlers: {} });
    expect(() => worker.stop({ timeout: 'soon' })).toThrow(/timeout/);
    await worker.stop();
    expect(worker.health().state).toBe('idle');
  });

  it('lets the process end by itself, and at once', async () => {
    const queue = site.queueName();
    const child = await Child.start('test/chaos/worker-process.ts', {
      url: site.installation.server.url,
      namespace: 'drain',
      definition: { name: queue },
    });
    await child.said('started');
    await site.task(queue, 'k', 'sleep', { ms: 50 });
    await child.said('completed');
    child.tell('stop');
    await child.said('stopped');
    const ended = performance.now();
    expect(await child.exited).toEqual({ code: 0, signal: null });
    expect(performance.now() - ended).toBeLessThan(2000);
    expect(child.of('stopped')[0]!.ms).toBeLessThan(1000);
  });
});
