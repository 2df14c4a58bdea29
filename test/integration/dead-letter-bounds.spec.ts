import { deadLetterTotals } from '@jetlane/jetstream';
import { describe, expect, it } from 'vitest';
import { LetterWatch } from '../../apps/resiliency/src/letter-watch.js';
import { bury, connection, keysOf, useResiliency } from './resiliency-fixture.js';
import { keepingLog } from './services-fixture.js';

useResiliency('bounds');

const DAY_MS = 86_400_000;
const MIB = 1024 * 1024;
const NONE = { maxAgeMs: 0, maxBytes: 0 };

/** One look with these bounds. @returns what the log said */
async function look(bounds: { maxAgeMs: number; maxBytes: number }): Promise<{ events: string[]; watch: LetterWatch }> {
  const log = keepingLog();
  const watch = new LetterWatch(connection, { bounds, log });
  await watch.look();
  return { events: log.lines.map(({ event }) => event), watch };
}

const boundsNow = async () => (await deadLetterTotals(connection)).bounds;

describe('bounds of the dead letters', () => {
  it('are none until the service sets them, and can be changed and taken away', async () => {
    expect(await boundsNow()).toEqual(NONE);
    for (const bounds of [{ maxAgeMs: 90 * DAY_MS, maxBytes: 64 * MIB }, { maxAgeMs: DAY_MS, maxBytes: 0 }, NONE]) {
      expect((await look(bounds)).events).toEqual([]);
      expect(await boundsNow()).toEqual(bounds);
    }
  });

  it('are not set where that would throw dead letters away: the log says so, and the old ones hold', async () => {
    for (const key of keysOf(20)) await bury(key, { body: 'x'.repeat(1000) });
    expect((await look({ maxAgeMs: 0, maxBytes: 10_000 })).events).toEqual(['dead-letters:bounds-not-set']);
    expect((await look({ maxAgeMs: 1, maxBytes: 0 })).events).toContain('dead-letters:bounds-not-set');
    expect(await boundsNow()).toEqual(NONE);
    expect((await deadLetterTotals(connection)).count).toBe(20);
  });

  it('that the server has no room for are told, and do not keep the service from its work', async () => {
    const { events, watch } = await look({ maxAgeMs: 0, maxBytes: 2 ** 49 });
    expect(events).toEqual(['dead-letters:bounds-not-set']);
    expect(watch.totals?.bounds).toEqual(NONE);
    await watch.start();
    watch.stop();
  });

  it('warn before they are reached, and the figures tell count, size and age', async () => {
    const { bytes, count } = await deadLetterTotals(connection);
    const { events, watch } = await look({ maxAgeMs: 0, maxBytes: Math.ceil(bytes * 1.1) });
    expect(events).toEqual(['dead-letters:near-bounds']);
    expect(watch.totals).toMatchObject({ count, bytes, oldestAt: expect.any(Number) });
    await look(NONE);
  });
});
