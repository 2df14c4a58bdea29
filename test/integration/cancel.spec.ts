import { TaskClient } from '@jetlane/client';
import { type Connection, connect, ensureQueue, leaderGet } from '@jetlane/jetstream';
import type { QueueDefinition } from '@jetlane/protocol';
import { Cancelled, type TaskContext } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LinkProxy } from '../support/link-proxy.js';
import { rejection } from '../support/wait-until.js';
import { eventually } from './services-fixture.js';
import { deferred, QUICK_RETRY, SHORT_LEASE, WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
let client: TaskClient;
const ends: (() => Promise<void>)[] = [];
beforeAll(async () => {
  site = await WorkerSite.open('cancel');
  await site.schedule();
  client = new TaskClient(site.connection);
});
afterAll(async () => {
  await client.close();
  await site.close();
  await Promise.all(ends.map((end) => end()));
});

async function queueOf(definition: Partial<QueueDefinition> = {}): Promise<string> {
  const name = site.queueName();
  await ensureQueue(site.connection, { name, ...definition });
  return name;
}

/** Runs until its signal fires, and says what it was told. */
function holding() {
  const told: unknown[] = [];
  const runs: string[] = [];
  const handle = (_: unknown, { key, signal }: TaskContext) => {
    runs.push(key);
    return new Promise((_done, fail) =>
      signal.addEventListener('abort', () => {
        told.push(signal.reason);
        fail(signal.reason);
      }),
    );
  };
  return { told, runs, handle };
}

const live = async (queue: string, key: string) =>
  (await site.installation.store.traces(queue, key, leaderGet)).copies.map(({ place }) => place);
const keyOf = (id: string) => id.slice(id.indexOf('.') + 1);

describe.concurrent('cancel', () => {
  it('of a task that waits: it is gone, and who waits for its result is told', async () => {
    const queue = await queueOf();
    const { id } = await client.enqueue(queue, { type: 't', group: 'g' });
    const result = client.result(id, { timeout: '10s' });
    expect(await client.cancel(id, { reason: 'changed my mind' })).toBe('cancelled');
    expect(await result).toMatchObject({ state: 'cancelled', reason: 'changed my mind', type: 't', group: 'g', lane: 'normal', hop: 1 });
    expect(await live(queue, keyOf(id))).toEqual([]);
    expect(await client.cancel(id)).toBe('cancelled');
  });

  it('of a scheduled task removes its timer', async () => {
    const queue = await queueOf();
    const { id } = await client.enqueue(queue, { type: 't', delay: '1h', lane: 'high' });
    expect(await client.cancel(id)).toBe('cancelled');
    expect(await live(queue, keyOf(id))).toEqual([]);
    expect(await client.status(id)).toMatchObject({ state: 'cancelled', reason: 'cancelled', lane: 'high' });
  });

  it('of a task that runs fires its signal; the outcome is cancelled and it does not run again', async () => {
    const queue = await queueOf({ lease: SHORT_LEASE, retry: QUICK_RETRY });
    const { told, runs, handle } = holding();
    const worker = await site.worker({ queue, handlers: { t: handle } });
    const events: string[] = [];
    worker.on('task:cancelled', ({ reason }) => events.push(reason));
    const { id } = await client.enqueue(queue, { type: 't' });
    await eventually('it runs', () => runs.length === 1);
    expect(await client.cancel(id, { reason: 'stop it' })).toBe('requested');
    await eventually('it has ended', () => events.length === 1 && worker.health().busy === 0);
    expect(events).toEqual(['stop it']);
    expect(told[0]).toBeInstanceOf(Cancelled);
    expect(await client.status(id)).toMatchObject({ state: 'cancelled', reason: 'stop it' });
    await site.gone(queue, keyOf(id));
    expect(runs).toHaveLength(1);
  });

  it('of a task whose handler does not heed it: the record stays, whatever the handler does', async () => {
    const queue = await queueOf();
    const gates = [deferred(), deferred()];
    const ignore = [() => 'done', () => Promise.reject(new Error('failed'))];
    let runs = 0;
    const handle = (n: number) => {
      runs++;
      return gates[n]!.promise.then(ignore[n]);
    };
    const worker = await site.worker({ queue, handlers: { t: handle } });
    for (const n of [0, 1]) {
      const { id } = await client.enqueue(queue, { type: 't', data: n });
      await eventually('it runs', () => runs === n + 1);
      expect(await client.cancel(id)).toBe('requested');
      gates[n]!.resolve();
      await eventually('it has ended', () => worker.health().busy + worker.health().settling === 0);
      expect(await client.status(id)).toMatchObject({ state: 'cancelled' });
      expect(await live(queue, keyOf(id))).toEqual([]);
    }
  });

  it('of a task in the buffer of a worker: it never runs', async () => {
    const queue = await queueOf();
    const gate = deferred();
    const runs: string[] = [];
    const handle = async (_: unknown, { key }: TaskContext) => {
      runs.push(key);
      await gate.promise;
    };
    const worker = await site.worker({ queue, concurrency: 1, handlers: { t: handle } });
    await client.enqueue(queue, { type: 't' });
    await eventually('one runs', () => runs.length === 1);
    const { id } = await client.enqueue(queue, { type: 't', lane: 'high' });
    await eventually('the other waits', () => worker.health().lanes.some(({ buffered }) => buffered === 1));
    expect(await client.cancel(id)).toBe('cancelled');
    gate.resolve();
    await site.drained(queue);
    await eventually('nothing is held', () => worker.health().lanes.every(({ buffered }) => buffered === 0) && worker.health().busy === 0);
    expect(runs).toHaveLength(1);
    expect(await client.status(id)).toMatchObject({ state: 'cancelled' });
  });

  it('of tasks that somebody may run, of a consumer that was deleted: the one that was made anew does not know', async () => {
    const queue = await queueOf();
    const sent = [await client.enqueue(queue, { type: 't' }), await client.enqueue(queue, { type: 't', group: 'g' })];
    const { stream, consumer } = site.connection.names.lane(queue, 'normal');
    const got: string[] = [];
    const onDelivery = ({ subject }: { subject: string }) => void got.push(subject);
    const puller = site.connection.puller({ stream, consumer, onDelivery, onEnd: () => undefined });
    puller.start(site.connection.epoch);
    puller.pull(2, 'wait');
    await eventually('they are in hand', () => got.length === 2);
    puller.stop();
    await (await site.connection.admin()).consumers.delete(stream, consumer);
    await ensureQueue(site.connection, { name: queue });
    expect(await client.cancel(sent[0]!.id)).toBe('requested');
    expect(await client.cancelGroup(queue, 'g')).toMatchObject({ cancelled: 0, requested: 1 });
    for (const { id } of sent) expect((await client.status(id)).state).toBe('cancelled');
    // What was enqueued later was in nobody's hand.
    expect(await client.cancel((await client.enqueue(queue, { type: 't' })).id)).toBe('cancelled');
  });

  it('of a finished task is too late; of an unknown one an error', async () => {
    const queue = await queueOf({ retry: { attempts: 1 } });
    await site.worker({ queue, handlers: { t: () => 'done', bad: () => Promise.reject(new Error('bad')) } });
    for (const type of ['t', 'bad']) {
      const { id } = await client.enqueue(queue, { type });
      const { state } = await client.result(id, { timeout: '10s' });
      expect(await client.cancel(id), type).toBe('too-late');
      expect(await client.status(id)).toMatchObject({ state });
    }
    expect(await rejection(client.cancel(`${queue}.none`))).toMatchObject({ code: 'task-not-found' });
    expect(await rejection(client.cancel('nowhere.none'))).toMatchObject({ code: 'unknown-queue' });
    expect(await rejection(client.cancel('none'))).toMatchObject({ code: 'invalid-argument' });
  });

  it('keeps an idempotency key: the same key again answers with the cancelled task', async () => {
    const queue = await queueOf();
    const { id } = await client.enqueue(queue, { type: 't', data: 1, key: 'once' });
    expect(await client.cancel(id)).toBe('cancelled');
    expect(await client.enqueue(queue, { type: 't', data: 1, key: 'once' })).toMatchObject({ duplicate: true, state: 'cancelled' });
    expect(await rejection(client.enqueue(queue, { type: 't', data: 2, key: 'once' }))).toMatchObject({ code: 'idempotency-conflict' });
  });

  it('that a worker did not hear of is found before its next retry, and at a redelivery', async () => {
    const queue = await queueOf({ lease: SHORT_LEASE, retry: QUICK_RETRY });
    const link = await deaf();
    const gate = deferred();
    const runs: string[] = [];
    const handle = async (_: unknown, { key }: TaskContext) => {
      runs.push(key);
      await gate.promise;
      throw new Error('again');
    };
    const worker = await site.worker({ queue, handlers: { t: handle } }, link);
    const { id } = await client.enqueue(queue, { type: 't' });
    await eventually('it runs', () => runs.length === 1);
    expect(await client.cancel(id)).toBe('requested');
    gate.resolve();
    await eventually('it has ended', () => worker.health().busy + worker.health().settling === 0);
    expect([await live(queue, keyOf(id)), runs.length]).toEqual([[], 1]);
    expect(await client.status(id)).toMatchObject({ state: 'cancelled', attempt: 1 });
  });

  it('meanwhile, between a worker’s look and its retry: the timer does not stand', async () => {
    const queue = await queueOf({ retry: { attempts: 3, initialDelay: 60_000, maxDelay: 60_000 } });
    const link = await deaf();
    const publish = link.publish.bind(link);
    let cancelling: Promise<unknown> | undefined;
    // The worker has read the record, and its timer is on its way: now somebody cancels, and is done before it is stored.
    link.publish = async (...given) => {
      if (given[0].startsWith(link.names.pattern('schedules.'))) {
        cancelling = client.cancel(`${queue}.k`);
        await cancelling;
      }
      return publish(...given);
    };
    const worker = await site.worker({ queue, handlers: { t: () => Promise.reject(new Error('again')) } }, link);
    await site.task(queue, 'k', 't');
    await eventually('it is cancelled', () => cancelling !== undefined);
    await cancelling;
    await eventually('it is settled', () => worker.health().busy + worker.health().settling === 0);
    expect(await live(queue, 'k')).toEqual([]);
    expect(await client.status(`${queue}.k`)).toMatchObject({ state: 'cancelled' });
  });

  it('of a due task in the scheduler’s hand: it is dropped, or purged in its lane', async () => {
    const queue = await queueOf();
    const ids = [];
    for (let i = 0; i < 20; i++) ids.push((await client.enqueue(queue, { type: 't', delay: 300 + 5 * i })).id);
    await eventually('some are due', async () => (await site.installation.depth(queue)) > 3);
    expect(new Set(await Promise.all(ids.map((id) => client.cancel(id))))).toEqual(new Set(['cancelled']));
    const runs: string[] = [];
    await site.worker({ queue, handlers: { t: (_: unknown, { key }: TaskContext) => void runs.push(key) } });
    const last = await client.enqueue(queue, { type: 't' });
    await client.result(last.id, { timeout: '10s' });
    expect(runs).toEqual([keyOf(last.id)]);
    for (const id of ids) expect(await live(queue, keyOf(id))).toEqual([]);
  });

  it('by a canceller that dies before it told anybody: calling again does the rest', async () => {
    const queue = await queueOf();
    const { id } = await client.enqueue(queue, { type: 't' });
    await dieCancelling(id, () => undefined);
    expect(await client.status(id)).toMatchObject({ state: 'cancelled', reason: 'r' });
    expect(await live(queue, keyOf(id))).toEqual(['lane']);
    expect(await client.cancel(id)).toBe('cancelled');
    expect(await live(queue, keyOf(id))).toEqual([]);
  });

  it('by a canceller that dies before the purge: the worker that gets the task remembers', async () => {
    const queue = await queueOf();
    const runs: string[] = [];
    const worker = await site.worker({ queue, handlers: { t: (_: unknown, { key }: TaskContext) => void runs.push(key) } });
    const { stream, consumer } = site.connection.names.lane(queue, 'normal');
    const { consumers } = await site.connection.admin();
    await consumers.pause(stream, consumer, new Date(Date.now() + 60_000));
    const { id } = await client.enqueue(queue, { type: 't' });
    const events: string[] = [];
    worker.on('task:cancelled', ({ reason }) => events.push(reason));
    const tellFirst = async (link: Connection, subject: string, notice: string) => {
      link.send(subject, notice);
      await link.flush();
    };
    await dieCancelling(id, tellFirst);
    expect(await live(queue, keyOf(id))).toEqual(['lane']);
    await consumers.resume(stream, consumer);
    await site.gone(queue, keyOf(id));
    await eventually('it is told', () => events.length === 1);
    expect([runs, events]).toEqual([[], ['r']]);
  });
});

type Last = (link: Connection, subject: string, notice: string) => unknown;

/** Cancels over a link that ends for good when the record is written and the workers are about to be told. */
async function dieCancelling(id: string, last: Last): Promise<void> {
  const link = await site.installation.link();
  const dying = new TaskClient(link);
  const request = link.request.bind(link);
  link.request = async (...given) => {
    if (given[0].startsWith(link.names.pattern('cancels.'))) {
      await last(link, given[0], String(given[1]));
      await link.raw().close();
    }
    return request(...given);
  };
  const answer = rejection(dying.cancel(id, { reason: 'r' }));
  await eventually('it is dead', () => link.state === 'closed');
  ends.push(async () => void (await answer));
}

/** A link whose worker hears of no cancellation. */
async function deaf(): Promise<Connection> {
  const link = await site.installation.link();
  const subscribe = link.subscribe.bind(link);
  link.subscribe = (subject, ...rest) => subscribe(subject.replace('cancels.', 'unheard.'), ...rest);
  return link;
}

describe.concurrent('cancelGroup', () => {
  it('takes what waits, what is scheduled and what runs of the group, and nothing else', async () => {
    const queue = await queueOf();
    const { told, runs, handle } = holding();
    const worker = await site.worker({ queue, concurrency: 2, handlers: { t: handle, other: () => 'done' } });
    const group = async (count: number, task: object) =>
      Promise.all(Array.from({ length: count }, () => client.enqueue(queue, { type: 't', group: 'g', ...task })));
    const running = await group(2, {});
    await eventually('two run', () => runs.length === 2);
    const waiting = [...(await group(40, {})), ...(await group(5, { lane: 'low' }))];
    const scheduled = await group(5, { delay: '1h' });
    const others = [
      await client.enqueue(queue, { type: 'other', group: 'h' }),
      await client.enqueue(queue, { type: 'other' }),
      await client.enqueue(queue, { type: 'other', group: 'h', delay: 1 }),
    ];
    const answer = await client.cancelGroup(queue, 'g', { reason: 'all of it' });
    expect(answer.complete).toBe(true);
    // The worker drops some of what it gets meanwhile before it is read here.
    expect(answer.cancelled + answer.requested).toBeGreaterThan(30);
    expect(answer.cancelled + answer.requested).toBeLessThanOrEqual(52);
    expect(answer.requested).toBeGreaterThanOrEqual(2);
    for (const { id } of others) expect(await client.result(id, { timeout: '10s' })).toMatchObject({ state: 'completed' });
    for (const { id } of [...running, ...waiting, ...scheduled])
      expect(await client.status(id)).toMatchObject({ state: 'cancelled', reason: 'all of it', group: 'g' });
    await eventually('nothing is held', () => worker.health().busy + worker.health().settling === 0);
    await site.drained(queue);
    expect([runs.length, told.length]).toEqual([2, 2]);
    const later = await client.enqueue(queue, { type: 'other', group: 'g' });
    expect(await client.result(later.id, { timeout: '10s' })).toMatchObject({ state: 'completed' });
  });

  it('stops when its time is up and says so; calling again does the rest', async () => {
    const queue = await queueOf();
    for (let i = 0; i < 30; i++) await client.enqueue(queue, { type: 't', group: 'g' });
    expect(await client.cancelGroup(queue, 'g', { timeout: 0 })).toMatchObject({ complete: false, cancelled: 0 });
    expect(await client.cancelGroup(queue, 'g')).toEqual({ cancelled: 30, requested: 0, complete: true });
    expect(await client.cancelGroup(queue, 'g')).toEqual({ cancelled: 0, requested: 0, complete: true });
    expect(await rejection(client.cancelGroup(queue, ''))).toMatchObject({ code: 'invalid-argument' });
    expect(await rejection(client.cancelGroup('nowhere', 'g'))).toMatchObject({ code: 'unknown-queue' });
  });

  it('reaches what a frozen worker holds: the redelivery finds the record', async () => {
    const queue = await queueOf({ lease: SHORT_LEASE });
    const proxy = await LinkProxy.open(site.installation.server.url);
    const link = await connect({ servers: proxy.url, namespace: 'cancel' });
    ends.push(async () => {
      await link.close();
      await proxy.close();
    });
    const { runs, handle } = holding();
    await site.worker({ queue, handlers: { t: handle } }, link);
    const { id } = await client.enqueue(queue, { type: 't', group: 'g' });
    await eventually('it runs', () => runs.length === 1);
    proxy.freeze();
    expect(await client.cancelGroup(queue, 'g')).toEqual({ cancelled: 0, requested: 1, complete: true });
    const heir: string[] = [];
    await site.worker({ queue, handlers: { t: (_: unknown, { key }: TaskContext) => void heir.push(key) } });
    await site.gone(queue, keyOf(id));
    expect(heir).toEqual([]);
    expect(await client.status(id)).toMatchObject({ state: 'cancelled' });
  });
});
