import type { Connection } from '@jetlane/jetstream';
import type { TaskContext } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Child } from '../support/child.js';
import { eventually } from './services-fixture.js';
import { deferred, SHORT_LEASE, WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
const children: Child[] = [];
beforeAll(async () => {
  site = await WorkerSite.open('lease');
});
afterAll(async () => {
  await Promise.all(children.map((child) => child.end()));
  await site.close();
});

/** A worker process on a queue of its own, whose lease is short. */
async function child(name: string, queue: string): Promise<Child> {
  const definition = { name: queue, lease: SHORT_LEASE };
  const started = await Child.start('test/chaos/worker-process.ts', {
    url: site.installation.server.url,
    namespace: 'lease',
    definition,
    name,
    concurrency: 1,
  });
  children.push(started);
  await started.said('started');
  return started;
}

/** All that workers say about deliveries of a queue: `+ACK`, `-NAK`, `+WPI`, by delivery count. */
function overhear(connection: Connection, queue: string): string[] {
  const said: string[] = [];
  const { stream, consumer } = connection.names.lane(queue, 'normal');
  connection.subscribe(`$JS.ACK.${stream}.${consumer}.>`, ({ subject, data }) =>
    said.push(`${Buffer.from(data).toString()} ${subject.split('.')[4]}`),
  );
  return said;
}

describe.concurrent('a lease', () => {
  it('is kept for a handler that runs longer, and for what waits in the buffer; both run once', async () => {
    const queue = site.queueName();
    const runs: string[] = [];
    const slow = async (_: unknown, { key, delivery }: TaskContext) => {
      runs.push(`${key} ${delivery}`);
      await new Promise((resolve) => setTimeout(resolve, 3500));
    };
    const first = await site.worker({ queue, concurrency: 1, handlers: { t: slow }, definition: { lease: SHORT_LEASE } });
    await site.task(queue, 'a', 't');
    await eventually('the first runs', () => runs.length === 1);
    // The pull of another lane is still open: what comes there waits here.
    await site.task(queue, 'b', 't', undefined, 'high');
    await eventually('the other waits', () => first.health().lanes.some(({ buffered }) => buffered === 1));
    await site.drained(queue);
    expect(runs.sort()).toEqual(['a 1', 'b 1']);
    expect((await site.record(queue, 'a'))!.state).toBe('completed');
    expect((await site.record(queue, 'b'))!.state).toBe('completed');
  });

  it('that ran out in a process that was stopped is not used when it wakes: not an ack, not a NAK, not a record', async () => {
    const queue = site.queueName();
    const frozen = await child('frozen', queue);
    const said = overhear(site.connection, queue);
    await site.task(queue, 'k', 'stubborn', { ms: 300 });
    await frozen.said('ran');
    frozen.kill('SIGSTOP');
    const gate = deferred();
    const heir = await site.worker({ queue, name: 'heir', handlers: { stubborn: () => gate.promise } });
    await eventually('the other worker runs it', () => heir.health().busy === 1);
    frozen.kill('SIGCONT');
    await frozen.said('lost');
    expect(await site.record(queue, 'k')).toMatchObject({ state: 'queued', crashes: 1 });
    gate.resolve();
    expect(await site.reaches(queue, 'k', 'completed')).toMatchObject({ worker: 'heir' });
    await site.gone(queue, 'k');
    expect(frozen.of('completed')).toEqual([]);
    expect(said.filter((word) => word.endsWith(' 1') && !word.startsWith('+WPI'))).toEqual([]);
    expect(said).toContain('+ACK 2');
  });

  it('that ran out while the event loop was blocked is not used either', async () => {
    const queue = site.queueName();
    const blocked = await child('blocked', queue);
    const said = overhear(site.connection, queue);
    await site.task(queue, 'k', 'block', { ms: 2500 });
    await blocked.said('ran');
    await site.worker({ queue, name: 'heir', handlers: { block: () => 'heir' } });
    expect(await site.reaches(queue, 'k', 'completed')).toMatchObject({ worker: 'heir', result: 'heir' });
    await blocked.said('lost');
    expect(said.filter((word) => word.endsWith(' 1') && !word.startsWith('+WPI'))).toEqual([]);
    expect(await site.record(queue, 'k')).toMatchObject({ worker: 'heir' });
  });

  it('of what was sent while the event loop was blocked is counted from then', async () => {
    const queue = site.queueName();
    const blocked = await child('blocked', queue);
    await site.task(queue, 'block', 'block', { ms: 1700 });
    await blocked.said('ran');
    // The open pull of another lane brings it into the socket of the blocked process, and its lease runs out there.
    await site.task(queue, 'k', 'stubborn', { ms: 400 }, 'high');
    const runs: number[] = [];
    await site.worker({
      queue,
      name: 'heir',
      handlers: {
        block: () => 'heir',
        stubborn: async (_: unknown, { delivery }: TaskContext) => {
          runs.push(delivery);
          await new Promise((resolve) => setTimeout(resolve, 1500));
          return 'heir';
        },
      },
    });
    expect(await site.reaches(queue, 'k', 'completed')).toMatchObject({ worker: 'heir' });
    expect(runs).toEqual([2]);
    expect(blocked.of('ran').map(({ key }) => key)).toEqual(['block']);
  });

  it('lost while the handler runs: its signal fires', async () => {
    const queue = site.queueName();
    const link = await site.installation.link();
    const reasons: string[] = [];
    const handle = (_: unknown, { signal }: TaskContext) =>
      new Promise((_done, fail) =>
        signal.addEventListener('abort', () => {
          reasons.push((signal.reason as Error).name);
          fail(signal.reason);
        }),
      );
    const worker = await site.worker({ queue, handlers: { t: handle }, definition: { lease: SHORT_LEASE } }, link);
    const lost: string[] = [];
    worker.on('lease:lost', ({ id }) => lost.push(id));
    link.inProgress = () => true;
    link.flush = () => Promise.reject(new Error('cut'));
    await site.task(queue, 'k', 't');
    await eventually('the handler was told', () => reasons.length === 1, 4000);
    await eventually('and the listeners', () => lost.length === 1);
    expect(reasons).toEqual(['LeaseLostError']);
  });

  it('a round whose answer comes after the lease may have run out does not count', async () => {
    const queue = site.queueName();
    const link = await site.installation.link();
    const gate = deferred();
    const worker = await site.worker({ queue, handlers: { t: () => gate.promise }, definition: { lease: SHORT_LEASE } }, link);
    let lost = 0;
    worker.on('lease:lost', () => lost++);
    link.inProgress = () => true;
    link.flush = () => new Promise((resolve) => setTimeout(resolve, 1200));
    await site.task(queue, 'k', 't');
    await eventually('it runs', () => worker.health().busy === 1);
    await eventually('and is lost', () => worker.health().busy === 0, 4000);
    gate.resolve();
    await eventually('told', () => lost > 0);
    await site.drained(queue);
  });
});
