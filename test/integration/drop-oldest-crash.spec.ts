import { TaskClient } from '@jetlane/client';
import { consumerState } from '@jetlane/jetstream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LinkProxy } from '../support/link-proxy.js';
import { redefine } from './limits-fixture.js';
import { eventually } from './services-fixture.js';
import { WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
beforeAll(async () => {
  site = await WorkerSite.open('dropcrash');
});
afterAll(() => site.close());

const DEPTH = 10;

async function fullLane(): Promise<string> {
  const definition = { name: site.queueName(), maxDepth: DEPTH, dropBehavior: 'drop-oldest' as const };
  await redefine(site, definition);
  await site.define(definition);
  for (let i = 0; i < DEPTH; i++) await site.task(definition.name, `k${i}`, 't');
  return definition.name;
}

const paused = async (queue: string) => {
  const { stream, consumer } = site.connection.names.lane(queue, 'normal');
  return (await consumerState(site.connection, stream, consumer))?.paused;
};

describe('a producer that dies while it drops', () => {
  it.concurrent.each([
    ['before', 'CONSUMER\\.PAUSE', 0],
    ['after', 'CONSUMER\\.PAUSE', 0],
    ['before', 'states\\.q\\d+\\.k', 0],
    ['after', 'states\\.q\\d+\\.k', 1],
    ['before', 'MSG\\.DELETE', 1],
    ['after', 'MSG\\.DELETE', 1],
  ] as const)('%s %s: all is there or says that it was dropped, and the next one goes on', async (when, subject, told) => {
    const queue = await fullLane();
    const proxy = await LinkProxy.open(site.installation.server.url);
    const dying = new TaskClient(await site.installation.link(proxy.url));
    await dying.definition(queue);
    const cut = proxy.cutAt({ when, subject: new RegExp(subject) });
    dying.enqueue(queue, { type: 't', key: 'lost' }).catch(() => undefined);
    await cut;
    const keys = Array.from({ length: DEPTH }, (_, i) => `k${i}`);
    const states = async () => Promise.all(keys.map(async (key) => (await site.record(queue, key))?.state));
    // What was sent last may still be on its way.
    await eventually('as many are told', async () => (await states()).filter((state) => state === 'cancelled').length === told);
    const next = new TaskClient(await site.installation.link());
    expect(await next.enqueue(queue, { type: 't', key: 'next' })).toMatchObject({ state: 'queued' });
    const after = await states();
    for (const [i, key] of keys.entries()) expect(Boolean(await site.installation.inLane(queue, key)), key).toBe(after[i] !== 'cancelled');
    expect(await site.installation.inLane(queue, 'next')).toBeDefined();
    await eventually('the lane hands out again', async () => (await paused(queue)) === false);
    await proxy.close();
  });
});
