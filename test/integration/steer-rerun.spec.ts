import { HEADER, headerValue } from '@jetlane/protocol';
import { Worker } from '@jetlane/worker';
import { describe, expect, it } from 'vitest';
import { eventually } from './services-fixture.js';
import { admin, define, enqueueAll, queue, site, startSteering, useSteering } from './steer-fixture.js';

useSteering('reruns');

/** A worker that notes the payloads that it got. */
async function start(fail: () => boolean = () => false) {
  const got: unknown[] = [];
  const worker = new Worker(await site.link(), {
    queue,
    handlers: {
      noop: (data) => {
        got.push(data);
        if (fail()) throw new Error('not today');
        return 'done';
      },
    },
  });
  await worker.start();
  return { got, stop: () => worker.stop() };
}
const reaches = (key: string, state: string, hop = 1) =>
  eventually(`${key} is ${state}`, async () => {
    const { record } = await site.store.record(queue, key);
    return record?.state === state && record.hop >= hop;
  });

describe('a finished task', () => {
  it('runs once more with the payload that its record kept, under the next hop', async () => {
    await define({ name: queue, keepPayload: true });
    await startSteering();
    const worker = await start();
    await enqueueAll(['k'], { body: '{"n":"ä"}', group: 'g' });
    await reaches('k', 'completed');
    expect((await site.store.record(queue, 'k')).record?.payload).toEqual({ text: '{"n":"ä"}' });
    expect(await admin.tasks.rerun({ task_id: `${queue}.k` })).toEqual({ task_id: `${queue}.k`, hop: 2, lane: 'normal', duplicate: false });
    await reaches('k', 'completed', 2);
    expect(worker.got).toEqual([{ n: 'ä' }, { n: 'ä' }]);
    expect((await site.store.record(queue, 'k')).record).toMatchObject({ hop: 2, attempt: 1, group: 'g' });
    await worker.stop();
  });

  it('whose payload is gone runs with the one that is given', async () => {
    await startSteering();
    const worker = await start();
    await enqueueAll(['k'], { body: '1' });
    await reaches('k', 'completed');
    await expect(admin.tasks.rerun({ task_id: `${queue}.k` })).rejects.toMatchObject({ code: 'payload-not-kept', message: /keepPayload/ });
    expect(await admin.tasks.rerun({ task_id: `${queue}.k`, data: { fresh: true }, lane: 'high' })).toMatchObject({ hop: 2, lane: 'high' });
    await reaches('k', 'completed', 2);
    expect(worker.got).toEqual([1, { fresh: true }]);
    await worker.stop();
  });

  it('of a fifo queue goes to its only lane, and to no other', async () => {
    await define({ name: queue, discipline: 'fifo', keepPayload: true, retry: { attempts: 1 } });
    await startSteering();
    const failing = await start(() => true);
    await enqueueAll(['d']);
    await reaches('d', 'dead');
    await failing.stop();
    const worker = await start();
    await enqueueAll(['k']);
    await reaches('k', 'completed');
    await worker.stop();
    for (const task_id of [`${queue}.k`, `${queue}.d`]) {
      const rejected = { code: 'invalid-argument', message: /is fifo and takes no tasks of lane "high"/ };
      await expect(admin.tasks.rerun({ task_id, lane: 'high' })).rejects.toMatchObject(rejected);
      expect(await admin.tasks.rerun({ task_id })).toMatchObject({ hop: 2, lane: 'normal' });
    }
    expect((await site.takeAll(queue, 2)).sort()).toEqual(['d#2', 'k#2']);
  });

  it('that is dead takes the payload of its dead letter; a cancelled one that of its record', async () => {
    await define({ name: queue, keepPayload: true, retry: { attempts: 1 } });
    await startSteering();
    let failing = true;
    const worker = await start(() => failing);
    await enqueueAll(['k'], { body: '7' });
    await reaches('k', 'dead');
    failing = false;
    expect(await admin.tasks.rerun({ task_id: `${queue}.k` })).toMatchObject({ hop: 2 });
    await reaches('k', 'completed', 2);
    await worker.stop();
    await enqueueAll(['c'], { body: '8' });
    expect(await admin.tasks.cancel({ task_id: `${queue}.c` })).toMatchObject({ result: 'cancelled' });
    expect(await admin.tasks.rerun({ task_id: `${queue}.c` })).toMatchObject({ hop: 2 });
    const again = await site.inLane(queue, 'c');
    expect([Buffer.from(again!.data).toString(), headerValue(again!.headers, HEADER.type)]).toEqual(['8', 'noop']);
  });

  it('runs once however often it is asked for at the same hop, and not while it waits or runs', async () => {
    await define({ name: queue, keepPayload: true });
    await startSteering();
    const worker = await start();
    await enqueueAll(['k']);
    await reaches('k', 'completed');
    await worker.stop();
    const task_id = `${queue}.k`;
    const answers = await Promise.all([1, 2, 3].map(() => admin.tasks.rerun({ task_id, hop: 1 })));
    expect(answers.map(({ hop }) => hop)).toEqual([2, 2, 2]);
    expect(answers.filter(({ duplicate }) => !duplicate).length).toBe(1);
    await expect(admin.tasks.rerun({ task_id })).rejects.toMatchObject({ code: 'task-not-finished' });
    expect(await site.takeAll(queue, 1)).toEqual(['k#2']);
    expect(await site.depth(queue)).toBe(0);
  });

  it.each([
    ['no such task', 'none', {}, 'task-not-found'],
    ['two payloads', 'k', { data: 1, base64: 'eA==', contentType: 'a/b' }, 'invalid-argument'],
    ['bytes of no type', 'k', { base64: 'eA==' }, 'invalid-argument'],
    ['too many bytes', 'k', { data: 'x'.repeat(200) }, 'payload-too-large'],
    ['an unknown queue', '../k', {}, 'invalid-argument'],
  ])('refuses %s', async (_, key, over, code) => {
    await define({ name: queue, maxPayload: 100 });
    await startSteering();
    await expect(admin.tasks.rerun({ task_id: `${queue}.${key}`, ...over })).rejects.toMatchObject({ code });
  });
});
