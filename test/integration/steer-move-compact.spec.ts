import { describe, expect, it } from 'vitest';
import { keysOf } from './resiliency-fixture.js';
import { admin, define, ended, queue, site, startSteering, useSteering } from './steer-fixture.js';

useSteering('move-compact', 'compact');

describe('a full queue whose lanes share one stream', () => {
  it('is not put right by a move within it: the job says what to do, and the same call then does it', async () => {
    await startSteering();
    await define({ name: queue, maxDepth: 3 });
    for (const key of keysOf(12)) await site.enqueue(queue, key, { lane: 'low' });
    const job = await ended(await admin.queues.move({ queue, lane: 'low', toLane: 'critical', all: true }));
    expect(job).toMatchObject({
      state: 'stopped',
      done: 0,
      error: { code: 'queue-full', message: expect.stringContaining('raise its maxDepth') },
    });
    expect(await site.depth(queue)).toBe(12);
    await define({ name: queue, maxDepth: 10 });
    expect(await ended(await admin.queues.move({ queue, lane: 'low', toLane: 'critical', all: true }))).toMatchObject({
      state: 'completed',
      done: 12,
    });
    expect(await site.inLane(queue, 'k0', 'critical')).toBeDefined();
  });
});
