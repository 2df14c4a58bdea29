import { describe, expect, it } from 'vitest';
import { CuttingProxy } from '../support/cutting-proxy.js';
import {
  admin,
  define,
  ended,
  enqueueAll,
  forget,
  keysOf,
  pausedLanes,
  queue,
  site,
  startSteering,
  statesOf,
  useSteering,
} from './steer-fixture.js';

useSteering('takeover');

/** Starts a job on a copy whose link is cut at a step, with a survivor beside it that finishes the job. */
async function cutAt(when: 'before' | 'after', subject: RegExp, begin: () => Promise<{ id: string }>) {
  const proxy = await CuttingProxy.open(site.server.url, { when, subject, nth: 23 });
  const link = await site.link(proxy.url);
  const dying = await startSteering({}, link);
  const job = await begin();
  await proxy.done;
  forget(dying);
  await startSteering({ takeOverMs: 1000 });
  const done = await ended(job as Parameters<typeof ended>[0], 30_000);
  await proxy.close();
  return done;
}

const keys = keysOf(60);
const cuts = (subject: string) =>
  [
    ['before', subject],
    ['after', subject],
  ] as const;

describe('a move taken over from a copy that was killed', () => {
  it.each([...cuts(`tasks\\.q\\d+-to\\.`), ...cuts(`states\\.q\\d+\\.`), ...cuts(`MSG\\.DELETE`)])(
    'just %s a write to %s: each task once',
    async (when, subject) => {
      const other = `${queue}-to`;
      await define({ name: other });
      await enqueueAll(keys);
      const move = () => admin.queues.move({ queue, toQueue: other, all: true, rate: 200 }) as Promise<{ id: string }>;
      expect(await cutAt(when, new RegExp(subject), move)).toMatchObject({ state: 'completed', failed: 0 });
      expect((await site.takeAll(other, keys.length)).sort()).toEqual(keys.map((key) => `${key}#2`).sort());
      expect([await site.depth(queue), await site.depth(other)]).toEqual([0, 0]);
      expect(new Set(await statesOf(keys))).toEqual(new Set(['cancelled']));
      expect(await pausedLanes()).toEqual([]);
    },
  );
});

describe('a purge taken over from a copy that was killed', () => {
  it.each([...cuts(`states\\.q\\d+\\.`), ...cuts(`MSG\\.DELETE`)])(
    'just %s a write to %s: all are gone, with a record',
    async (when, subject) => {
      await enqueueAll(keys);
      const purge = () => admin.queues.purge({ queue, all: true, rate: 200 }) as Promise<{ id: string }>;
      expect(await cutAt(when, new RegExp(subject), purge)).toMatchObject({ state: 'completed', failed: 0 });
      expect(await site.depth(queue)).toBe(0);
      expect(new Set(await statesOf(keys))).toEqual(new Set(['cancelled']));
      expect(await pausedLanes()).toEqual([]);
    },
  );
});

describe('a job', () => {
  it('is left to another copy when its own stops in good order', async () => {
    const own = await startSteering();
    await enqueueAll(keys);
    const job = await admin.queues.purge({ queue, all: true, rate: 30 });
    await own.stop();
    forget(own);
    expect(await site.depth(queue)).toBeGreaterThan(0);
    await startSteering();
    expect(await ended(job)).toMatchObject({ state: 'completed', done: keys.length });
  });
});
