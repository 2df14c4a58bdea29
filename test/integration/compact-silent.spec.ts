import { type Connection, listLanes } from '@jetlane/jetstream';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { LiveStats } from '../../apps/queue-manager/src/live-stats.js';
import { OrphanMover } from '../../apps/resiliency/src/orphan-mover.js';
import { Sweeper } from '../../apps/resiliency/src/sweeper.js';
import { LinkProxy } from '../support/link-proxy.js';
import { eventually, Installation, keepingLog } from './services-fixture.js';

let site: Installation;
let proxy: LinkProxy;
let link: Connection;
beforeAll(async () => {
  site = await Installation.open('silent', {}, 'compact');
  for (const name of ['a', 'b']) await site.queue({ name, lease: '1s', maxDeliveries: 2 });
  proxy = await LinkProxy.open(site.server.url);
  link = await site.link(proxy.url);
});
afterEach(() => {
  proxy.fromClient = undefined;
});
afterAll(async () => {
  await site.close();
  await proxy.close();
});

/** A consumer without a leader: the server says nothing to questions about it. @returns the way to let it answer again */
function silence(queue: string): () => void {
  const { stream, consumer } = site.connection.names.lane(queue, 'normal');
  proxy.fromClient = ({ subject }) => subject !== `$JS.API.CONSUMER.INFO.${stream}.${consumer}`;
  return () => {
    proxy.fromClient = undefined;
  };
}

/** Hands a task back until the server gives it up, and takes the advisory away. */
async function orphan(queue: string, key: string): Promise<void> {
  const { streams } = await site.connection.admin();
  const { advisories } = site.connection.names;
  const before = (await streams.info(advisories)).state.last_seq;
  await site.enqueue(queue, key);
  const stop = site.work(queue, (delivery, ack) => (delivery.subject.endsWith(key) ? void site.connection.nak(delivery) : ack()));
  await eventually('it was given up', async () => (await streams.info(advisories)).state.last_seq > before);
  stop();
  await streams.purge(advisories);
}

function sweeper(): { sweep: () => Promise<number>; events: () => string[] } {
  const log = keepingLog();
  const found = new Sweeper(link, { mover: new OrphanMover(link, { keepMs: () => 60_000 }), log });
  return { sweep: () => found.sweep(), events: () => log.lines.map(({ event }) => event) };
}

describe('one consumer that does not answer', () => {
  it('hides no lane from a listing, nor the live view of other queues; its own keeps its last numbers', async () => {
    for (const queue of ['a', 'b']) await site.enqueue(queue, 'waits');
    const stats = new LiveStats(link, () => ['a', 'b']);
    await stats.poll();
    const answers = silence('a');
    await site.enqueue('b', 'more');
    const listed = (await listLanes(link)).filter(({ depth }) => depth > 0);
    expect(listed.map(({ queue, lane, depth }) => `${queue}.${lane} ${depth}`).sort()).toEqual(['a.normal 1', 'b.normal 2']);
    await stats.poll();
    expect(stats.read()).toMatchObject([
      { queue: 'a', depth: 1, lanes: { normal: { depth: 1 } } },
      { queue: 'b', depth: 2, lanes: { normal: { depth: 2 } } },
    ]);
    answers();
    const stop = site.work('a');
    const stopOther = site.work('b');
    await eventually('both are empty', async () => (await site.depth('a')) + (await site.depth('b')) === 0);
    stop();
    stopOther();
  });

  it('leaves the sweep of other queues alone', async () => {
    await orphan('b', 'lost-b');
    silence('a');
    await site.enqueue('a', 'stands');
    const { sweep, events } = sweeper();
    let found = 0;
    await eventually('it is found', async () => {
      found += await sweep();
      return found > 0;
    });
    expect(events()).toContain('sweep:queue-failed');
    expect(events()).not.toContain('sweep:failed');
  });

  it('is no reason to forget what was odd about its queue', async () => {
    await orphan('a', 'lost-a');
    const { sweep, events } = sweeper();
    // Stream and consumers are asked apart: the queue is odd from now on.
    expect(await sweep()).toBe(0);
    const answers = silence('a');
    expect(await sweep()).toBe(0);
    expect(events()).toEqual(['sweep:queue-failed']);
    answers();
    expect(await sweep()).toBe(1);
  });
});

describe('a poll of the live view', () => {
  it('looks into 25 queues at most and the others at its next turn; how much a queue holds is always told', async () => {
    const names = Array.from({ length: 30 }, (_, i) => `many${i}`);
    await Promise.all(names.map((name) => site.queue({ name })));
    for (const name of names) await site.enqueue(name, 'waits', { lane: 'low' });
    let reads = 0;
    proxy.fromClient = ({ subject }) => {
      if (/^\$JS\.API\.DIRECT\.GET\.silent_tasks_/.test(subject)) reads++;
      return true;
    };
    const stats = new LiveStats(link, () => names);
    const lanes = () => stats.read().reduce((sum, queue) => sum + queue.lanes.low.depth, 0);
    await stats.poll();
    expect(reads).toBeGreaterThan(0);
    expect(reads).toBeLessThanOrEqual(25);
    expect(stats.read().every(({ depth }) => depth === 1)).toBe(true);
    expect(lanes()).toBeLessThanOrEqual(25);
    await stats.poll();
    expect(lanes()).toBe(30);
    await stats.poll();
    expect(lanes()).toBe(30);
  });
});
