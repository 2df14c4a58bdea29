import { LANES, type Lane } from '@jetlane/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HeldTask } from '../held-task.js';
import { Gate } from './gate.js';
import { MOST_PARKED } from './groups.js';
import { ShareKeeper } from './shares.js';

/** What the gate reads of a task. */
const task = (lane: Lane = 'normal', group?: string, fetchedAt = 0): HeldTask =>
  ({ lane, headers: { hop: 1, attempt: 1, ...(group === undefined ? {} : { group }) }, fetchedAt, gated: false }) as unknown as HeldTask;

const load = { wants: () => 5, needShare: () => undefined, running: () => [] };

/** A keeper whose entries come back at once, so that all it asks for is proven. */
function alone() {
  const keeper = new ShareKeeper('me');
  const beat = (now: number) => void keeper.observed('me', keeper.next(now), now);
  return { keeper, gate: new Gate(keeper, load), beat };
}

describe('reserved slots', () => {
  it('are never taken by lanes below, whatever starts and ends; one slot is left for all', () => {
    const move = fc.record({ lane: fc.nat(3), end: fc.boolean() });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.record({ critical: fc.nat(6), high: fc.nat(6), normal: fc.nat(6) }),
        fc.array(move, { maxLength: 200 }),
        (slots, reserved, moves) => {
          const { gate } = alone();
          gate.configure({ reserved }, 0);
          const running: HeldTask[] = [];
          const kept = [0, reserved.critical, reserved.critical + reserved.high, reserved.critical + reserved.high + reserved.normal];
          for (const { lane, end } of moves) {
            const at = running.findIndex((one) => one.lane === LANES[lane]);
            if (end && at >= 0) gate.ended(running.splice(at, 1)[0]!, 0);
            else if (running.length < slots && gate.laneFree(lane, slots, [0, 0, 0, 0]) > 0) {
              running.push(task(LANES[lane]));
              gate.started(running.at(-1)!, 0);
            }
            for (let i = 1; i < LANES.length; i++) {
              const below = running.filter((one) => LANES.indexOf(one.lane) >= i).length;
              expect(below).toBeLessThanOrEqual(Math.max(1, slots - kept[i]!));
            }
          }
          // The highest lane may always have what is free, and nobody is shut out of an idle worker.
          expect(gate.laneFree(0, slots, [0, 0, 0, 0])).toBe(slots);
          for (const one of running) gate.ended(one, 0);
          for (let i = 0; i < LANES.length; i++) expect(gate.laneFree(i, slots, [0, 0, 0, 0])).toBeGreaterThan(0);
        },
      ),
    );
  });
});

describe('groups', () => {
  const limited = () => {
    const { keeper, gate, beat } = alone();
    gate.configure({ limits: { group: { concurrency: 1 } } }, 0);
    return { keeper, gate, beat };
  };

  it('let nothing start before their share is proven, and then one at a time', () => {
    const { gate, beat } = limited();
    const [first, second] = [task('low', 'g', 1), task('low', 'g', 2)];
    expect(gate.admits(first, 0)).toBe(false);
    expect(gate.park(first, 0, 10)).toBeUndefined();
    expect(gate.park(second, 0, 10)).toBeUndefined();
    expect(gate.ready(1)).toEqual([]);
    beat(1);
    expect(gate.ready(1)).toEqual([first]);
    gate.started(first, 1);
    expect(gate.ready(1)).toEqual([]);
    gate.ended(first, 2);
    expect(gate.ready(2)).toEqual([second]);
    expect(gate.admits(task('low'), 2)).toBe(true);
  });

  it('are parked within bounds, leave places to other groups, and go away for longer and longer, up to a minute', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { maxLength: 300 }), (names) => {
        const { gate } = limited();
        const away = new Map<string, number[]>();
        for (const name of names) {
          const one = task('normal', name);
          const delay = gate.admits(one, 0) ? undefined : gate.park(one, 0, 2000);
          expect(gate.parked).toBeLessThanOrEqual(MOST_PARKED);
          if (delay === undefined) continue;
          expect(delay).toBeGreaterThanOrEqual(1000);
          expect(delay).toBeLessThanOrEqual(60_000);
          away.set(name, [...(away.get(name) ?? []), delay]);
        }
        for (const delays of away.values()) if (delays.length > 1) expect(delays[1]).toBeGreaterThan(delays[0]!);
        expect(gate.unpark()).toHaveLength(Math.min(names.length, names.length - [...away.values()].flat().length));
        expect(gate.parked).toBe(0);
      }),
    );
  });

  it('are forgotten when they rest, and kept while their rate has not saved up again', () => {
    const { keeper, gate, beat } = alone();
    gate.configure({ limits: { group: { rate: { count: 10, per: '1m' } } } }, 0);
    const one = task('normal', 'g');
    gate.admits(one, 0);
    beat(0);
    expect(gate.admits(one, 1)).toBe(true);
    gate.started(one, 1);
    gate.ended(one, 2);
    const claims = (now: number) => {
      gate.sweep(now);
      const entry = keeper.next(now);
      keeper.observed('me', entry, now);
      return Object.keys(entry.claims);
    };
    for (let now = 1000; now < 8000; now += 1000) expect(claims(now)).toEqual(['r:g']);
    for (let now = 8000; now < 100_000; now += 1000) claims(now);
    expect(claims(100_000)).toEqual([]);
  });
});

describe('a rate', () => {
  it('lets pulls ask for what may start while they are under way, and no more', () => {
    const { gate } = alone();
    gate.configure({ rate: { count: 7 } }, 0);
    expect(gate.startable(0)).toBe(1);
    gate.started(task(), 0);
    expect(gate.startable(0)).toBe(0);
    expect(gate.open(0)).toBe(false);
    expect(gate.waitMs(0)).toBeCloseTo(1000 / 7 - 100);
    expect(gate.startable(50)).toBe(1);
    expect(gate.open(143)).toBe(true);
  });
});
