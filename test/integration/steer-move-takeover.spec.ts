import { describe, expect, it } from 'vitest';
import { admin, cutAt, define, enqueueAll, keysOf, pausedLanes, queue, site, statesOf, useSteering } from './steer-fixture.js';

useSteering('takeover-move');

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
