import { type Connection, connect } from '@jetlane/jetstream';
import type { TaskContext } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LinkProxy } from '../support/link-proxy.js';
import { eventually } from './services-fixture.js';
import { deferred, QUICK_RETRY, SHORT_LEASE, WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
const ends: (() => Promise<void>)[] = [];
beforeAll(async () => {
  site = await WorkerSite.open('late');
  await site.schedule();
});
afterAll(async () => {
  await site.close();
  await Promise.all(ends.map((end) => end()));
});

async function throughProxy(): Promise<{ proxy: LinkProxy; link: Connection }> {
  const proxy = await LinkProxy.open(site.installation.server.url);
  const link = await connect({ servers: proxy.url, namespace: 'late' });
  ends.push(async () => {
    await link.close();
    await proxy.close();
  });
  return { proxy, link };
}

/** The metrics of a worker go the same way and do not count. */
function freezeAtSettlement(link: Connection, proxy: LinkProxy): void {
  const { names, publisher } = link;
  const post = publisher.post.bind(publisher);
  publisher.post = (publication) => {
    if (!publication.subject.startsWith(names.pattern('metrics.'))) proxy.freeze();
    post(publication);
  };
}

/** One worker behind a link that freezes as it writes the outcome, and an heir that has the task to itself meanwhile. */
async function outlived(end: () => unknown) {
  const queue = site.queueName();
  const { proxy, link } = await throughProxy();
  const gate = deferred();
  const definition = { lease: SHORT_LEASE, retry: QUICK_RETRY };
  const first = await site.worker({ queue, name: 'first', handlers: { t: () => gate.promise.then(end) }, definition }, link);
  await site.task(queue, 'k', 't');
  await eventually('the first runs it', () => first.health().busy === 1);
  const runs: number[] = [];
  const handle = (_: unknown, { hop }: TaskContext) => {
    runs.push(hop);
    return 'of the heir';
  };
  freezeAtSettlement(link, proxy);
  gate.resolve();
  await eventually('it settles', () => first.health().busy === 0);
  await site.worker({ queue, name: 'heir', handlers: { t: handle } });
  expect(await site.reaches(queue, 'k', 'completed')).toMatchObject({ worker: 'heir', result: 'of the heir' });
  await eventually('the first has its link again', () => link.epoch === 2 && link.state === 'connected');
  await eventually('and has let go', () => first.health().busy + first.health().settling === 0);
  await link.flush();
  return { queue, runs };
}

describe.concurrent('what a worker has written when its link broke, and its lease ended before the next one', () => {
  it('does not replace the record of the worker that came after it', async () => {
    const { queue, runs } = await outlived(() => 'of the first');
    expect(runs).toHaveLength(1);
    expect(await site.record(queue, 'k')).toMatchObject({ worker: 'heir', result: 'of the heir' });
  });

  it('does not revive the task by a timer', async () => {
    const { queue, runs } = await outlived(() => {
      throw new Error('of the first');
    });
    await site.gone(queue, 'k');
    expect(runs).toHaveLength(1);
    expect(await site.record(queue, 'k')).toMatchObject({ worker: 'heir', hop: 1 });
  });
});
