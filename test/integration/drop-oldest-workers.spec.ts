import { TaskClient } from '@jetlane/client';
import type { JetlaneError, QueueDefinition } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { redefine } from './limits-fixture.js';
import { eventually } from './services-fixture.js';
import { deferred, WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
beforeAll(async () => {
  site = await WorkerSite.open('dropping');
  await site.schedule();
});
afterAll(() => site.close());

async function define(given: Omit<QueueDefinition, 'name'>): Promise<string> {
  const definition = { ...given, name: site.queueName(), dropBehavior: 'drop-oldest' as const };
  await redefine(site, definition);
  await site.define(definition);
  return definition.name;
}

const client = async () => new TaskClient(await site.installation.link());
const tasks = (queue: string, count: number) => Array.from({ length: count }, (_, i) => ({ queue, type: 't', data: i }));

/** How many of each kind there are. */
function counted(kinds: readonly string[]): Record<string, number> {
  const count: Record<string, number> = {};
  for (const kind of kinds) count[kind] = (count[kind] ?? 0) + 1;
  return count;
}

describe('a lane that drops the oldest beside workers', () => {
  it('loses no task whose first attempt fails: each waits for its retry or was dropped before it ran', async () => {
    const queue = await define({ maxDepth: 100, retry: { attempts: 3, initialDelay: 600_000, maxDelay: 600_000 } });
    const ran = new Set<string>();
    const handler = (_: unknown, { id }: { id: string }) => {
      ran.add(id);
      return Promise.reject(new Error('the first attempt fails'));
    };
    await site.worker({ queue, concurrency: 20, handlers: { t: handler } });
    const ids: string[] = [];
    const [one, two] = [await client(), await client()];
    const onReceipt = ({ id }: { id: string }) => void ids.push(id);
    await Promise.all([one.enqueueMany(tasks(queue, 900), { onReceipt }), two.enqueueMany(tasks(queue, 900), { onReceipt })]);
    await site.drained(queue);
    const fate = async (id: string) => {
      const { state } = await one.status(id).catch((error: JetlaneError) => ({ state: error.code }));
      return `${ran.has(id) ? 'ran' : 'never ran'}: ${state}`;
    };
    const fates = counted(await Promise.all(ids.map(fate)));
    expect(Object.keys(fates).sort()).toEqual(['never ran: cancelled', 'ran: retrying']);
    expect(fates['never ran: cancelled']! + fates['ran: retrying']!).toBe(1800);
  });

  it('tells nobody that a task is cancelled which then runs', async () => {
    const queue = await define({ maxDepth: 100 });
    const ran = new Set<string>();
    const handler = async (_: unknown, { id }: { id: string }) => {
      ran.add(id);
      await new Promise((resolve) => setTimeout(resolve, 100));
    };
    await site.worker({ queue, concurrency: 20, handlers: { t: handler } });
    const [producer, watcher] = [await client(), await client()];
    const results: Promise<string>[] = [];
    const told = async (id: string) => {
      const { state } = await watcher.result(id, { timeout: '30s' });
      return `${ran.has(id) ? 'ran' : 'never ran'}: ${state}`;
    };
    await producer.enqueueMany(tasks(queue, 600), { onReceipt: ({ id }) => void results.push(told(id)) });
    const fates = counted(await Promise.all(results));
    expect(Object.keys(fates).sort()).toEqual(['never ran: cancelled', 'ran: completed']);
    await site.drained(queue);
    expect(ran.size).toBe(fates['ran: completed']);
  });

  it('drops nothing that may run, when the consumer was made anew and knows of nothing', async () => {
    const queue = await define({ maxDepth: 3, lease: '60s' });
    const end = deferred();
    let running = '';
    const handler = (_: unknown, { id }: { id: string }) => {
      running = id;
      return end.promise;
    };
    await site.worker({ queue, concurrency: 1, handlers: { t: handler } });
    const producer = await client();
    await producer.enqueue(queue, { type: 't' });
    await eventually('it runs', () => running !== '');
    await producer.enqueue(queue, { type: 't' });
    await producer.enqueue(queue, { type: 't' });
    const { stream, consumer } = site.connection.names.lane(queue, 'normal');
    const { consumers } = await site.connection.admin();
    await consumers.delete(stream, consumer);
    const refused = async () =>
      expect(await producer.enqueue(queue, { type: 't' }).catch((error) => error)).toMatchObject({ code: 'queue-full' });
    await refused();
    await site.define({ name: queue, maxDepth: 3, dropBehavior: 'drop-oldest', lease: '60s' });
    await refused();
    expect((await site.record(queue, running.split('.')[1]!))?.state).not.toBe('cancelled');
    end.resolve();
  });
});
