import { ensureQueue } from '@jetlane/jetstream';
import { LANES } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DefinitionStore } from '../../apps/queue-manager/src/definitions/definition-store.js';
import { removeQueueSafely } from '../../apps/queue-manager/src/definitions/queue-removal.js';
import { rejection } from '../support/wait-until.js';
import { Installation } from './services-fixture.js';

let site: Installation;
let store: DefinitionStore;
beforeAll(async () => {
  site = await Installation.open('removal');
  store = new DefinitionStore(site.connection);
});
afterAll(() => site.close());

const remove = (queue: string, options = {}) => removeQueueSafely(site.connection, store, queue, options);
const standing = async (queue: string) => {
  const { streams } = await site.connection.admin();
  const found = await Promise.all(
    LANES.map((lane) =>
      streams.info(site.connection.names.lane(queue, lane).stream).then(
        () => true,
        () => false,
      ),
    ),
  );
  return found.filter(Boolean).length;
};
class Ended extends Error {}

describe('a queue that is deleted', () => {
  it('while somebody enqueues: the task that came in between is kept, and so is the queue', async () => {
    await ensureQueue(site.connection, { name: 'busy', maxDepth: 77 });
    let late: Promise<unknown> = Promise.resolve();
    const onStep = (step: string) => {
      if (step === 'undefined') late = site.enqueue('busy', 'late');
    };
    const error = await rejection(remove('busy', { onStep }));
    expect(error).toMatchObject({ code: 'queue-not-empty', details: { tasks: 1, timers: 0 } });
    await late;
    expect((await store.get('busy')).definition).toEqual({ name: 'busy', maxDepth: 77 });
    await site.enqueue('busy', 'later');
    expect((await site.takeAll('busy', 2)).sort()).toEqual(['late#1', 'later#1']);
    expect(await remove('busy')).toMatchObject({ dropped: 0 });
    expect(await standing('busy')).toBe(0);
  });

  it.each(['undefined', 'sealed'])('ended after "%s": defined again it has all its tasks; deleted again it goes on', async (last) => {
    const queue = `ended-${last}`;
    await ensureQueue(site.connection, { name: queue });
    await site.enqueue(queue, 'kept');
    const ending = (step: string) => {
      if (step === last) throw new Ended();
    };
    await expect(remove(queue, { force: true, onStep: ending })).rejects.toThrow(Ended);
    expect(await standing(queue)).toBe(4);
    expect(await rejection(remove(queue))).toMatchObject({ code: 'queue-not-empty' });
    await ensureQueue(site.connection, { name: queue });
    expect(await site.takeAll(queue, 1)).toEqual(['kept#1']);
    await expect(remove(queue, { onStep: ending })).rejects.toThrow(Ended);
    expect(await remove(queue)).toMatchObject({ dropped: 0 });
    expect(await standing(queue)).toBe(0);
    expect(await rejection(remove(queue))).toMatchObject({ code: 'unknown-queue' });
  });
});
