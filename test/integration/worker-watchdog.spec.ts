import { consumerState } from '@jetlane/jetstream';
import type { Worker } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loseRequests } from '../support/lost-pulls.js';
import { holdsFor } from '../support/wait-until.js';
import { eventually } from './services-fixture.js';
import { deferred, WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
beforeAll(async () => {
  site = await WorkerSite.open('dog');
});
afterAll(() => site.close());

const lane = (worker: Worker, name = 'normal') => worker.health().lanes.find((view) => view.lane === name)!;

describe.concurrent('a worker', () => {
  it('whose pull the server has forgotten asks anew within 5 s and stays ready', async () => {
    const queue = site.queueName();
    const link = await site.installation.link();
    const ran: string[] = [];
    await site.define({ name: queue });
    const { relent, heal, lost } = loseRequests(link, queue, site.connection);
    const worker = await site.worker({ queue, handlers: { t: (_: unknown, { key }: { key: string }) => void ran.push(key) } }, link);
    const began = performance.now();
    await eventually('the pull is lost', () => lost() > 0);
    relent();
    await site.task(queue, 'k', 't');
    await eventually('the task runs', () => ran.length === 1);
    heal();
    expect(performance.now() - began).toBeGreaterThan(4500);
    expect(performance.now() - began).toBeLessThan(7000);
    expect(worker.health()).toMatchObject({ ready: true, problems: [] });
  });

  it('that gets nothing on new pulls either says which lane and why, until it does', async () => {
    const queue = site.queueName();
    const link = await site.installation.link();
    await site.define({ name: queue });
    const { heal } = loseRequests(link, queue, site.connection);
    const worker = await site.worker({ queue, handlers: { t: () => 'done' } }, link);
    const told: string[] = [];
    worker.on('lane:stuck', (stuck) => told.push(`${stuck.lane} ${stuck.reason}`));
    worker.on('lane:recovered', (recovered) => told.push(`${recovered.lane} recovered`));
    await site.task(queue, 'k', 't');
    await site.task(queue, 'other', 't', undefined, 'high');
    expect(worker.health().ready).toBe(true);
    await eventually('it is not ready', () => !worker.health().ready);
    expect(worker.health()).toMatchObject({
      state: 'running',
      problems: [expect.stringMatching(/^normal: 1 tasks wait, pulls are open, and nothing has been delivered for \d+ s/)],
    });
    expect(lane(worker)).toMatchObject({ stuck: expect.stringContaining('1 tasks wait'), stuckMs: expect.any(Number) });
    expect(lane(worker, 'high').stuck).toBeUndefined();
    heal();
    await site.reaches(queue, 'k', 'completed');
    await eventually('it is ready again', () => worker.health().ready);
    expect(told[0]).toMatch(/^normal 1 tasks wait/);
    expect(told.at(-1)).toBe('normal recovered');
  });

  it('of a paused lane says so and is ready; what comes is run at the resume', async () => {
    const queue = site.queueName();
    const worker = await site.worker({ queue, handlers: { t: () => 'done' } });
    const { stream, consumer } = site.connection.names.lane(queue, 'normal');
    const { consumers } = await site.connection.admin();
    await consumers.pause(stream, consumer, new Date(Date.now() + 60_000));
    await site.task(queue, 'k', 't');
    await eventually('it tells', () => lane(worker).paused === true);
    expect(worker.health()).toMatchObject({ ready: true, problems: [] });
    await consumers.resume(stream, consumer);
    const began = performance.now();
    await site.reaches(queue, 'k', 'completed');
    expect(performance.now() - began).toBeLessThan(5000);
    await eventually('it tells no more', () => lane(worker).paused === undefined);
  });

  it('of a lane whose tasks are all out with others says so and is ready', async () => {
    const queue = site.queueName();
    const gate = deferred();
    const options = { queue, concurrency: 1, handlers: { t: () => gate.promise } };
    const workers = [await site.worker(options), await site.worker(options)];
    const { stream, consumer } = site.connection.names.lane(queue, 'normal');
    await (await site.connection.admin()).consumers.update(stream, consumer, { max_ack_pending: 1 });
    for (const key of ['a', 'b']) await site.task(queue, key, 't');
    const idle = () => workers.find((worker) => worker.health().busy === 0)!;
    await eventually('one is out', () => workers.some((worker) => worker.health().busy === 1));
    await eventually('the other tells', () => lane(idle()).exhausted === true);
    await holdsFor('and is ready', 2000, () => idle().health().ready);
    gate.resolve();
    await site.drained(queue);
  });

  it('whose idle lane lost its consumer is ready again within 5 s', async () => {
    const queue = site.queueName();
    const worker = await site.worker({ queue, handlers: { t: () => 'done' } });
    const { stream, consumer } = site.connection.names.lane(queue, 'low');
    await eventually('a pull is open', async () => (await consumerState(site.connection, stream, consumer))?.openPulls === 1);
    await (await site.connection.admin()).consumers.delete(stream, consumer);
    await eventually('it says so', () => lane(worker, 'low').refused !== undefined);
    expect(worker.health().problems[0]).toMatch(/^low: pulls are refused: (409|503)/);
    const began = performance.now();
    await eventually('it is ready', () => worker.health().ready);
    expect(performance.now() - began).toBeLessThan(5000);
    await site.task(queue, 'k', 't', undefined, 'low');
    await site.reaches(queue, 'k', 'completed');
  });

  it('that has work asks the server nothing about it', async () => {
    const queue = site.queueName();
    const asked: string[] = [];
    site.connection.subscribe(`$JS.API.CONSUMER.INFO.${site.connection.names.lane(queue, 'normal').stream}.>`, ({ subject }) =>
      asked.push(subject),
    );
    let runs = 0;
    await site.worker({ queue, handlers: { t: () => void runs++ } });
    const before = asked.length;
    for (const end = performance.now() + 6000; performance.now() < end; ) {
      await site.task(queue, `k${runs}`, 't');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(runs).toBeGreaterThan(20);
    expect(asked.slice(before)).toEqual([]);
  });
});
