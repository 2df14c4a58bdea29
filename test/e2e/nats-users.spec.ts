import { TaskClient } from '@jetlane/client';
import {
  type Connection,
  callCommand,
  callService,
  consumerState,
  type Delivery,
  deleteMessage,
  ensureQueue,
  type PullEnd,
  trimRecords,
} from '@jetlane/jetstream';
import { COMMANDS, FatalError, SEARCH_COMMANDS, WORKER_COMMANDS } from '@jetlane/protocol';
import { type TaskContext, Worker } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readPermissions } from '../../scripts/lib/nats-users.mjs';
import { eventually } from '../support/wait-until.js';
import { UsersSite } from './nats-users-fixture.js';
import { FORBIDDEN } from './nats-users-forbidden.js';

type Json = Record<string, unknown>;
const PATIENCE = { timeoutMs: 60_000, everyMs: 25 };

let site: UsersSite;
let producer: TaskClient;
const workers: Worker[] = [];
const runs = new Map<string, number>();

const count = (key: string): number => {
  runs.set(key, (runs.get(key) ?? 0) + 1);
  return runs.get(key)!;
};

const handlers = {
  echo: async (data: unknown) => data,
  'fails-once': {
    retry: { attempts: 3, initialDelay: '50ms' },
    handle: async (_: unknown, { key }: TaskContext) => {
      if (count(key) === 1) throw new Error('the first attempt fails');
      return 'second';
    },
  },
  'dies-once': async (_: unknown, { key }: TaskContext) => {
    if (count(key) === 1) throw new FatalError('not this time');
    return 'redriven';
  },
  endless: (_: unknown, { signal }: TaskContext) =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true })),
};

beforeAll(async () => {
  site = await UsersSite.start();
  await site.services();
  const manager = await site.connect('queue-manager');
  await ensureQueue(manager, { name: 'limited', limits: { concurrency: 1, rate: { count: 100, per: '1s' } } });
  const link = await site.connect('worker');
  for (const queue of ['default', 'limited']) workers.push(new Worker(link, { queue, handlers }));
  await Promise.all(workers.map((worker) => worker.start()));
  producer = new TaskClient(await site.connect('producer'));
});
afterAll(async () => {
  await Promise.all(workers.map((worker) => worker.stop()));
  await site?.stop();
});

async function call(method: string, path: string, body?: unknown): Promise<{ status: number; body: Json }> {
  const init = body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const response = await fetch(site.gateway + path, { method, ...init });
  return { status: response.status, body: (await response.json()) as Json };
}

const enqueue = (task_type: string, more: Json = {}, query = '') =>
  call('POST', `/api/queue/enqueue${query}`, { queue_name: 'default', task_type, task_data: { n: 1 }, ...more });
const itemsOf = async (path: string) => (await call('GET', path)).body.items as Json[];
const stateOf = async (id: string) => (await call('GET', `/api/queue/status/${id}`)).body.state;
const becomes = (id: string, state: string) => eventually(`${id} is ${state}`, async () => (await stateOf(id)) === state, PATIENCE);

describe('the whole path, each process under its own user', () => {
  it('gateway to worker to record, and the figures of all services', async () => {
    expect(await enqueue('echo', {}, '?wait=30s')).toMatchObject({ body: { state: 'completed', result: { n: 1 } } });
    const figures = async () => (await call('GET', '/api/queue/stats')).body;
    await eventually('every service tells its figures', async () => ((await figures()).missing as []).length === 0, PATIENCE);
  });

  it('producer: one by one, many, under a key, later, and their outcomes', async () => {
    const one = await producer.enqueue('default', { type: 'echo', data: 7, key: 'mine' });
    expect(await producer.result(one.id, { timeout: '60s' })).toMatchObject({ state: 'completed', result: 7 });
    expect(await producer.enqueue('default', { type: 'echo', data: 7, key: 'mine' })).toMatchObject({ duplicate: true });
    const later = await producer.enqueue('default', { type: 'echo', data: 8, delay: '300ms' });
    expect(await producer.status(later.id)).toMatchObject({ state: 'scheduled' });
    const many = Array.from({ length: 200 }, (_, n) => ({ queue: 'default', type: 'echo', data: n }));
    expect(await producer.enqueueMany(many)).toEqual({ accepted: 200, duplicates: 0, failed: 0 });
    expect(await producer.result(later.id, { timeout: '60s' })).toMatchObject({ state: 'completed', result: 8 });
    await expect(producer.status('default.nobody')).rejects.toMatchObject({ code: 'task-not-found' });
  });

  it('retry, dead letter, redrive', async () => {
    const { body: retried } = await enqueue('fails-once', {}, '?wait=30s');
    expect(retried).toMatchObject({ state: 'completed', result: 'second', attempt: 2 });
    const dead = String((await enqueue('dies-once')).body.task_id);
    await becomes(dead, 'dead');
    expect((await call('GET', '/api/v1/dead-letters')).body.items).toMatchObject([{ task_id: dead }]);
    expect(await call('POST', '/api/v1/dead-letters/redrive', { task_id: dead })).toMatchObject({ status: 200 });
    await becomes(dead, 'completed');
    const job = await call('POST', '/api/v1/dead-letters/redrive', { filter: { queue_name: 'default' }, all: true });
    expect(job.status).toBe(202);
  });

  it('cancel: what waits and what runs', async () => {
    const waiting = String((await enqueue('echo', { delay: '1h' })).body.task_id);
    expect((await call('POST', `/api/v1/tasks/${waiting}/cancel`)).body).toMatchObject({ result: 'cancelled' });
    expect(await stateOf(waiting)).toBe('cancelled');
    const running = String((await enqueue('endless')).body.task_id);
    await becomes(running, 'running');
    expect((await call('POST', `/api/v1/tasks/${running}/cancel`)).body).toMatchObject({ result: 'requested' });
    await becomes(running, 'cancelled');
  });

  it('limits that workers share', async () => {
    const many = Array.from({ length: 5 }, (_, n) => ({ queue: 'limited', type: 'echo', data: n, key: `limited-${n}` }));
    await producer.enqueueMany(many);
    for (const { key } of many) expect(await producer.result(`limited.${key}`, { timeout: '60s' })).toMatchObject({ state: 'completed' });
  });

  it('operators: pause, resume, what runs where, and events', async () => {
    const events = await site.listen('/api/v1/events?queue=default');
    expect(await call('POST', '/api/v1/queues/default/pause', { reason: 'works' })).toMatchObject({ body: { paused: true } });
    const id = String((await enqueue('echo')).body.task_id);
    expect(await stateOf(id)).toBe('queued');
    expect(await itemsOf('/api/v1/tasks?queue=default&state=queued')).toMatchObject([{ id }]);
    expect(await call('POST', '/api/v1/queues/default/resume')).toMatchObject({ body: { paused: false } });
    await becomes(id, 'completed');
    await eventually('its event', () => events.text().includes(`"${id}"`), PATIENCE);
    events.close();
    const listed = async () => (await itemsOf('/api/v1/tasks?queue=default&state=completed')).some((item) => item.id === id);
    await eventually('it is listed as finished', listed, PATIENCE);
    const queues = async () => (await itemsOf('/api/v1/workers')).map(({ queue }) => queue);
    await eventually('both workers are listed', async () => (await queues()).join() === 'default,limited', PATIENCE);
  });

  it('operators: a purge, another storage, the end of a queue, and the audit of it', async () => {
    expect(await call('PUT', '/api/v1/queues/steered', {})).toMatchObject({ status: 200 });
    const fill = async () => {
      for (let n = 0; n < 3; n++) await enqueue('echo', { queue_name: 'steered' });
    };
    await fill();
    const purge = await call('POST', '/api/v1/queues/steered/purge', { all: true });
    const job = async () => (await call('GET', `/api/v1/jobs/${purge.body.id}`)).body;
    await eventually('the purge has ended', async () => (await job()).state !== 'running', PATIENCE);
    expect(await job()).toMatchObject({ state: 'completed', done: 3 });
    await fill();
    expect(await call('PATCH', '/api/v1/queues/steered', { storage: 'memory' })).toMatchObject({ status: 200 });
    const manager = await site.connect('queue-manager');
    const { streams } = await manager.admin();
    const lane = () => streams.info(manager.names.lane('steered', 'normal').stream).catch(() => undefined);
    const moved = async () => (await lane())?.config.storage === 'memory' && (await lane())?.state.messages === 3;
    await eventually('the lane has moved, with its tasks', moved, PATIENCE);
    expect(await call('DELETE', '/api/v1/queues/steered?force=true')).toMatchObject({ body: { dropped: 3 } });
    const audit = async (query: string) => (await itemsOf(`/api/v1/audit?${query}`)).map(({ command }) => command);
    expect(await audit('target=steered')).toEqual(['queues.delete', 'queues.patch', 'queues.purge', 'queues.put']);
    // Facts about dead letters come as events of the resiliency service.
    await eventually('the redrive is audited', async () => (await audit('')).includes('dead-letters.redriven'), PATIENCE);
  });

  it('dashboard: asks what only reads', async () => {
    const link = await site.connect('dashboard');
    expect(await callCommand(link, WORKER_COMMANDS.list, { limit: 200 }, 'page')).toMatchObject({ total: 2 });
    expect((await callCommand(link, SEARCH_COMMANDS.tasks, { limit: 50 }, 'page')).items).not.toEqual([]);
  });

  it('and the server refused nobody anything', () => {
    expect(site.violations()).toEqual([]);
  });
});

/** What the server refused of a deed. */
async function refusedOf(connection: Connection, deed: () => unknown): Promise<string[]> {
  const refused: string[] = [];
  const forget = connection.denials.on(({ subject }) => refused.push(subject) > 0);
  await deed();
  await connection.flush();
  await new Promise((resolve) => setImmediate(resolve));
  forget();
  return refused;
}

describe('what each user must not do', () => {
  it.each(Object.keys(FORBIDDEN))('%s', async (user) => {
    const connection = await site.connect(user);
    const { publish, listen } = FORBIDDEN[user]!;
    const published = await refusedOf(connection, () => publish.forEach((subject) => void connection.raw().publish(subject, '{}')));
    expect(published).toEqual(publish);
    const heard = await refusedOf(connection, () => listen.map((subject) => connection.subscribe(subject, () => undefined)));
    expect(heard).toEqual(listen);
  });

  it('an ack of a task that somebody else holds changes nothing', async () => {
    await ensureQueue(await site.connect('queue-manager'), { name: 'held' });
    await producer.enqueue('held', { type: 'echo', data: 1, lane: 'high' });
    const worker = await site.connect('worker');
    const { stream, consumer } = worker.names.lane('held', 'high');
    const held: Delivery[] = [];
    const puller = worker.puller({ stream, consumer, onDelivery: (delivery) => held.push(delivery), onEnd: () => undefined });
    puller.start(worker.epoch);
    puller.pull(1, 'wait');
    await eventually('the worker holds it', () => held.length > 0, PATIENCE);
    const thief = await site.connect('producer');
    expect(await refusedOf(thief, () => thief.ack(held[0]!))).toEqual([held[0]!.reply]);
    expect(await consumerState(worker, stream, consumer)).toMatchObject({ ackPending: 1 });
    puller.stop();
  });

  it('what is refused is a typed error at once, not a silence', async () => {
    const denied = { code: 'permission-denied', retryable: false };
    const watcher = await site.connect('dashboard');
    const { stream, consumer } = watcher.names.lane('default', 'high');
    await expect(watcher.publish(watcher.names.task('default', 'high', 'k'), '{}')).rejects.toMatchObject(denied);
    await expect(watcher.request('acme.svc.resiliency.dead-letters.discard', '{}', 60_000)).rejects.toMatchObject(denied);
    await expect(callService(watcher, 'queue-manager', 'reconcile', {}, 60_000)).rejects.toMatchObject(denied);
    await expect(deleteMessage(watcher, stream, 1)).rejects.toMatchObject(denied);
    await expect(trimRecords(watcher, 'default', 1)).rejects.toMatchObject(denied);
    await expect(ensureQueue(watcher, { name: 'new' })).rejects.toMatchObject(denied);
    const many = Array.from({ length: 50 }, (_, n) => ({ queue: 'default', type: 'echo', data: n }));
    const codes: unknown[] = [];
    const summary = await new TaskClient(watcher).enqueueMany(many, { onError: (error) => codes.push((error as Json).code) });
    expect(summary).toEqual({ accepted: 0, duplicates: 0, failed: 50 });
    expect(new Set(codes)).toEqual(new Set(['permission-denied']));
    const ends: PullEnd[] = [];
    const puller = watcher.puller({ stream, consumer, onDelivery: () => undefined, onEnd: (end) => ends.push(end) });
    puller.start(watcher.epoch);
    puller.pull(1, 'wait');
    await eventually('the pull ends', () => ends.length > 0, PATIENCE);
    puller.stop();
    expect(ends).toMatchObject([{ code: 403, text: expect.stringContaining('does not let this user publish') }]);
    const later = await producer.enqueue('default', { type: 'echo', data: 1, delay: '1h' });
    await expect(producer.cancel(later.id)).rejects.toMatchObject(denied);
  });

  it('a worker removes the oldest records, where a queue keeps only so many', async () => {
    const worker = await site.connect('worker');
    expect(await trimRecords(worker, 'held', 1)).toBe(0);
  });

  it('a user on an inbox that is not its own cannot connect', async () => {
    await expect(site.connect('producer', 'gateway')).rejects.toMatchObject({
      code: 'permission-denied',
      message: expect.stringContaining('NATS_INBOX_PREFIX'),
    });
  });

  it('no command that changes something is allowed to anybody but the services, and all that reads to a dashboard', async () => {
    const { roles } = await readPermissions();
    const reading = COMMANDS.filter(({ scope }) => scope === 'read').map(({ service, name }) => `{ns.}svc.${service}.${name}`);
    expect(roles.dashboard!.publish).toEqual(expect.arrayContaining(reading));
    const allowed = Object.entries(roles).flatMap(([name, { publish }]) => (name === 'service' ? [] : publish));
    const changing = COMMANDS.filter(({ scope }) => scope !== 'read').map(({ service, name }) => `{ns.}svc.${service}.${name}`);
    expect(allowed.filter((subject) => changing.includes(subject))).toEqual([]);
    expect(allowed.filter((subject) => /svc\..*[>*]/.test(subject))).toEqual([]);
  });
});
