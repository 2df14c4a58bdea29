import { provisionQueue, removeQueue } from '@jetlane/jetstream';
import { TOPOLOGIES } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Installation } from '../support/installation.js';
import { rejection } from '../support/wait-until.js';

const UNKNOWN = { code: 'no-responders', retryable: true };

describe.each(TOPOLOGIES)('a defined queue whose lanes are missing, laid out as %s', (topology) => {
  let site: Installation;
  beforeAll(async () => {
    site = await Installation.openAs(topology, 'missing', { name: 'q' }, { name: 'other' });
  });
  afterAll(() => site.close());

  it('is not known to hold no task: whoever asks, cancels or enqueues again under a key is told to try again', async () => {
    const first = await site.client.enqueue('q', { type: 't', key: 'mine' });
    const plain = await site.client.enqueue('q', { type: 't' });
    await removeQueue(site.connection, 'q');
    expect(await rejection(site.client.status(plain.id))).toMatchObject(UNKNOWN);
    expect(await rejection(site.client.cancel(plain.id))).toMatchObject(UNKNOWN);
    expect(await rejection(site.client.enqueue('q', { type: 't', key: 'mine' }))).toMatchObject(UNKNOWN);
    await site.finish('q.done');
    expect(await site.client.status('q.done')).toMatchObject({ state: 'completed' });
    await provisionQueue(site.connection, { name: 'q' });
    expect(await rejection(site.client.status(plain.id))).toMatchObject({ code: 'task-not-found' });
    expect(await site.client.enqueue('q', { type: 't', key: 'mine' })).toMatchObject({ id: first.id, duplicate: true, state: 'queued' });
  });

  it('is another thing than a queue that is not defined', async () => {
    expect(await rejection(site.client.status('nowhere.k'))).toMatchObject({ code: 'task-not-found' });
    expect(await rejection(site.client.cancel('nowhere.k'))).toMatchObject({ code: 'unknown-queue' });
    expect(await rejection(site.client.enqueue('nowhere', { type: 't', key: 'k' }))).toMatchObject({ code: 'unknown-queue' });
    expect(await rejection(site.client.status('other.k'))).toMatchObject({ code: 'task-not-found' });
  });
});
