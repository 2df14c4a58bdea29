import { describe, expect, it } from 'vitest';
import {
  admin,
  cutAt,
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

const keys = keysOf(60);
const cuts = (subject: string) =>
  [
    ['before', subject],
    ['after', subject],
  ] as const;

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
    await startSteering({ takeOverMs: 1000 });
    expect(await ended(job)).toMatchObject({ state: 'completed', done: keys.length });
  });
});
