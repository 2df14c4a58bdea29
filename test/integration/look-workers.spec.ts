import { callCommand } from '@jetlane/nestjs/service';
import { WORKER_COMMANDS, type WorkerView } from '@jetlane/protocol';
import { Worker } from '@jetlane/worker';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { LiveWorkersComponent } from '../../apps/queue-manager/src/live/live-component.js';
import { LinkProxy } from '../support/link-proxy.js';
import { eventually, Installation } from './services-fixture.js';

let site: Installation;
const components: LiveWorkersComponent[] = [];
const workers: Worker[] = [];

beforeAll(async () => {
  site = await Installation.open('look-workers');
  await site.queue({ name: 'q' });
  await site.queue({ name: 'other' });
});
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.stop({ timeout: 0 })));
  await Promise.all(components.splice(0).map((component) => component.stop()));
});
afterAll(() => site.close());

async function manager(): Promise<LiveWorkersComponent> {
  const component = new LiveWorkersComponent(await site.link());
  components.push(component);
  await component.start();
  return component;
}

async function startWorker(name: string, queue = 'q', link = site.connection, handle: () => unknown = () => 1): Promise<Worker> {
  const worker = new Worker(link, { queue, name, version: '4.5.6', concurrency: 2, handlers: { noop: handle } });
  workers.push(worker);
  await worker.start();
  return worker;
}

const list = (input: { queue?: string; state?: 'live' | 'lost'; limit?: number; cursor?: string } = {}) =>
  callCommand(site.connection, WORKER_COMMANDS.list, { limit: 200, ...input }, 'test');
const named = (items: readonly WorkerView[], name: string) => items.find(({ worker }) => worker === name);

describe('live view of workers', () => {
  it('shows host, version, handlers, load and what runs; a worker that stops is gone at once', async () => {
    await manager();
    let finish: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const worker = await startWorker('busy', 'q', site.connection, () => gate);
    await site.enqueue('q', 'long', { lane: 'high' });
    await eventually('half of it is used', async () => (named((await list()).items, 'busy')?.utilisation ?? 0) >= 0.45);
    const view = named((await list({ queue: 'q' })).items, 'busy');
    expect(view).toMatchObject({
      ...{ state: 'live', queue: 'q', version: '4.5.6', pid: process.pid, types: ['noop'], slots: 2, busy: 1, running: 1 },
    });
    expect(view?.host).not.toBe('');
    expect(view?.utilisation).toBeLessThanOrEqual(0.55);
    expect(view?.rss_mb).toBeGreaterThan(10);
    expect(view?.heap_mb).toBeGreaterThan(1);
    expect(view?.loop_lag_ms).toBeGreaterThanOrEqual(0);
    expect(view?.cpu).toBeGreaterThanOrEqual(0);
    const detail = await callCommand(site.connection, WORKER_COMMANDS.get, { queue: 'q', worker: 'busy' }, 'test');
    expect(detail.tasks).toMatchObject([{ id: 'q.long', lane: 'high', hop: 1, attempt: 1 }]);
    finish();
    await worker.stop();
    await eventually('gone', async () => named((await list()).items, 'busy') === undefined);
    await expect(callCommand(site.connection, WORKER_COMMANDS.get, { queue: 'q', worker: 'busy' }, 'test')).rejects.toMatchObject({
      code: 'worker-not-found',
    });
  });

  it('a worker whose link is dead is lost, for every queue-manager, also for one that starts after it fell silent', async () => {
    const first = await manager();
    const second = await manager();
    const proxy = await LinkProxy.open(site.server.url);
    try {
      await startWorker('silent', 'q', await site.link(proxy.url));
      await startWorker('well');
      const states = (component: LiveWorkersComponent) => component.workers.list().map(({ worker, state }) => `${worker} ${state}`);
      const everywhere = (expected: string[]) => () =>
        components.every((component) => JSON.stringify(states(component)) === JSON.stringify(expected));
      await eventually('both see both', everywhere(['silent live', 'well live']));
      proxy.freeze();
      await eventually('lost for both', everywhere(['silent lost', 'well live']));
      const third = await manager();
      expect(states(third)).toContain('silent lost');
      expect(third.workers.list().find(({ worker }) => worker === 'silent')?.seen_at).toBeLessThan(Date.now() - 3000);
      expect(states(first)).toEqual(states(second));
      expect((await list({ state: 'lost' })).items.map(({ worker }) => worker)).toEqual(['silent']);
      expect(first.workers.alive('q').map(({ worker }) => worker)).toEqual(['well']);
    } finally {
      proxy.cut();
      await Promise.all(workers.splice(0).map((worker) => worker.stop({ timeout: 0 })));
      await proxy.close();
    }
  });

  it('pages by a cursor, and is not fooled by strangers', async () => {
    const { workers: seen } = await manager();
    for (const name of ['a', 'b', 'c']) await startWorker(name, 'other');
    await eventually('all are seen', () => seen.list('other').length === 3);
    const { names } = site.connection;
    site.connection.send(names.heartbeat('other', 'x'), 'no heartbeat');
    site.connection.send(names.heartbeat('other', 'y'), JSON.stringify({ worker: 'y', queue: 'other' }));
    const [beat] = seen.alive('other');
    site.connection.send(names.heartbeat('other', 'z'), JSON.stringify({ ...beat, worker: 'a', stopping: true }));
    const page = await list({ queue: 'other', limit: 2 });
    expect(page).toMatchObject({ total: 3, items: [{ worker: 'a' }, { worker: 'b' }] });
    const rest = await list({ queue: 'other', limit: 2, ...(page.cursor ? { cursor: page.cursor } : {}) });
    expect(rest.items.map(({ worker }) => worker)).toEqual(['c']);
    expect(rest.cursor).toBeUndefined();
  });
});
