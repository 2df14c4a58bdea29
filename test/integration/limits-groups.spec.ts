import { leaderGet } from '@jetlane/jetstream';
import { headerValue } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { backlog, Effects, overlap, redefine, worker } from './limits-fixture.js';
import { eventually } from './services-fixture.js';
import { SHORT_LEASE, WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
beforeAll(async () => {
  site = await WorkerSite.open('limits-groups');
  await site.schedule();
});
afterAll(() => site.close());

const GROUPS = ['red', 'blue', 'green'];

describe('a group at its limit', () => {
  it('runs one task at a time over all workers, and no other group waits behind it', async () => {
    const queue = site.queueName();
    await redefine(site, { name: queue, limits: { group: { concurrency: 1 } } });
    await site.define({ name: queue });
    await backlog(site, queue, 60, 'hot', 'hot');
    for (const group of GROUPS) await backlog(site, queue, 5, group, group);
    await backlog(site, queue, 5, 'free');
    const effects = new Effects();
    for (const name of ['a', 'b']) await worker(site, effects, name, 30, { queue, concurrency: 4 });
    const of = (prefix: string) => effects.runs.filter(({ key }) => key.startsWith(prefix));
    await eventually('all but the hot group have run', () => effects.runs.length - of('hot').length === 20);
    const hotMeanwhile = of('hot').length;
    expect(hotMeanwhile).toBeLessThan(60);
    await eventually('the hot group too', () => of('hot').length === 60, 40_000);
    for (const group of ['hot', ...GROUPS]) expect(overlap(of(group)), group).toBe(1);
    expect(new Set(effects.runs.map(({ key }) => key)).size).toBe(80);
    await site.drained(queue);
    expect(effects.runs).toHaveLength(80);
  });

  it('has a rate of its own', async () => {
    const queue = site.queueName();
    await redefine(site, { name: queue, limits: { group: { rate: { count: 10 } } } });
    await site.define({ name: queue });
    for (const group of GROUPS) await backlog(site, queue, 40, group, group);
    const effects = new Effects();
    await worker(site, effects, 'a', 1, { queue });
    const begun = await eventually('it works', () => effects.runs.length > 0).then(() => performance.now());
    await eventually('four seconds are over', () => performance.now() > begun + 4000);
    for (const group of GROUPS) {
      const count = effects.started(begun + 1000, begun + 4000).filter(({ key }) => key.startsWith(group)).length;
      expect(count, group).toBeGreaterThan(20);
      expect(count, group).toBeLessThan(36);
    }
  });
});

describe('a task that is put away', () => {
  /** A worker whose one group is busy, with more tasks of it than it may park. */
  async function crowd(definition: object) {
    const queue = site.queueName();
    await redefine(site, { name: queue, limits: { group: { concurrency: 1 } }, ...definition });
    await site.define({ name: queue, ...definition });
    return queue;
  }
  const timers = async (queue: string, count: number) => {
    const { names } = site.connection;
    const stored = await Promise.all(
      Array.from({ length: count }, (_, i) => leaderGet(site.connection, names.schedules, names.timer(queue, `k${i}`))),
    );
    return stored.flatMap((message, i) => (message ? [{ key: `k${i}`, hop: Number(headerValue(message.headers, 'Task-Hop')) }] : []));
  };

  it('goes back by a timer one hop higher, keeps its attempt, and leaves room for others', async () => {
    const queue = await crowd({});
    await backlog(site, queue, 60, 'k', 'g');
    const effects = new Effects();
    const one = await worker(site, effects, 'a', 3000, { queue, concurrency: 2 });
    await eventually('some are put away', async () => (await timers(queue, 60)).length > 20);
    const away = await timers(queue, 60);
    expect(away.every(({ hop }) => hop === 2)).toBe(true);
    await backlog(site, queue, 1, 'other', 'o');
    await eventually('another group runs at once', () => effects.runs.some(({ key }) => key === 'other0'), 2000);
    const { busy, lanes } = one.health();
    expect(busy + lanes.reduce((sum, { buffered }) => sum + buffered, 0)).toBeLessThanOrEqual(2 + 24);
  });

  it('runs once though the worker dies between the timer and the ack', async () => {
    const queue = await crowd({ lease: SHORT_LEASE });
    await backlog(site, queue, 25, 'k', 'g');
    const link = await site.installation.link();
    const ack = link.ack.bind(link);
    let dead = false;
    link.ack = (delivery) => {
      // The first ack is that of the first put-away: the one task that runs takes longer.
      dead = true;
      void link.raw().close();
      return dead || ack(delivery);
    };
    const effects = new Effects();
    await site.worker({ queue, name: 'first', concurrency: 2, handlers: { t: () => new Promise(() => undefined) } }, link);
    await eventually('the first worker died', () => dead);
    expect((await timers(queue, 25)).length).toBeGreaterThan(0);
    await worker(site, effects, 'heir', 5, { queue, concurrency: 2 });
    await eventually('all have run', () => new Set(effects.runs.map(({ key }) => key)).size === 25, 30_000);
    await site.drained(queue);
    const count = (key: string) => effects.runs.filter((run) => run.key === key).length;
    expect(Array.from({ length: 25 }, (_, i) => count(`k${i}`)).filter((times) => times !== 1)).toEqual([]);
  });
});
