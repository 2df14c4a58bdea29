import {
  LANE_NUMBERS,
  LANES,
  type LaneMode,
  PULL_SURPLUS,
  parseLane,
  planPulls,
  strictPicker,
  surplusFor,
  weightedPicker,
} from '@jetlane/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const weights = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 4, maxLength: 4 });

describe('weighted lanes', () => {
  it('give busy lanes their weights within 5 %', () => {
    fc.assert(
      fc.property(weights, fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }), (shares, busy) => {
        fc.pre(busy.includes(true));
        const picker = weightedPicker(shares);
        const buffered = busy.map((is) => (is ? 1_000_000 : 0));
        const served = [0, 0, 0, 0];
        for (let i = 0; i < 10_000; i++) served[picker.next(buffered)]!++;
        const total = shares.reduce((sum, share, i) => sum + (busy[i] ? share : 0), 0);
        shares.forEach((share, i) => {
          const due = busy[i] ? (10_000 * share) / total : 0;
          // One round more or less is the beginning and the end of the count.
          expect(Math.abs(served[i]! - due)).toBeLessThanOrEqual(Math.max(0.05 * due, share));
        });
      }),
      { numRuns: 60 },
    );
  });

  it('no busy lane waits for more than one round, whatever comes and goes in the others', () => {
    fc.assert(
      fc.property(
        weights,
        fc.array(fc.array(fc.nat(3), { minLength: 4, maxLength: 4 }), { minLength: 50, maxLength: 400 }),
        fc.nat(3),
        (shares, walk, watched) => {
          const picker = weightedPicker(shares);
          const round = shares.reduce((sum, share) => sum + share, 0);
          let waited = 0;
          for (const arrivals of walk) {
            const buffered = arrivals.map((count, i) => (i === watched ? 1 : count));
            waited = picker.next(buffered) === watched ? 0 : waited + 1;
            expect(waited).toBeLessThanOrEqual(round);
          }
        },
      ),
    );
  });

  it('serve only lanes that have tasks, and say -1 when none has', () => {
    fc.assert(
      fc.property(weights, fc.array(fc.array(fc.nat(2), { minLength: 4, maxLength: 4 }), { maxLength: 200 }), (shares, walk) => {
        const picker = weightedPicker(shares);
        for (const buffered of walk) {
          const lane = picker.next(buffered);
          if (buffered.every((count) => count === 0)) expect(lane).toBe(-1);
          else expect(buffered[lane]).toBeGreaterThan(0);
        }
      }),
    );
  });

  it('an idle lane saves up nothing', () => {
    const picker = weightedPicker([8, 4, 2, 1]);
    for (let i = 0; i < 1000; i++) picker.next([0, 0, 0, 1]);
    const burst = Array.from({ length: 15 }, () => picker.next([9, 9, 9, 9]));
    expect(burst.filter((lane) => lane === 0)).toHaveLength(8);
  });
});

describe('strict lanes', () => {
  it('always serve the highest that has a task', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3), { minLength: 4, maxLength: 4 }), (buffered) => {
        expect(strictPicker.next(buffered)).toBe(buffered.findIndex((count) => count > 0));
      }),
    );
  });
});

interface WalkStep {
  readonly lane: number;
  readonly take: number;
  readonly finish: number;
  readonly pending: number;
}

const step: fc.Arbitrary<WalkStep> = fc.record({ lane: fc.nat(3), take: fc.nat(60), finish: fc.nat(60), pending: fc.nat(100) });

/** A worker as planPulls sees it: pulls are asked for, delivered, started by lane order and finished. */
function walk(slots: number, mode: LaneMode, shares: readonly number[], steps: readonly WalkStep[]): void {
  const lanes = LANES.map(() => ({ buffered: 0, open: 0, pending: 0 }));
  let running = 0;
  const held = () => running + lanes.reduce((sum, lane) => sum + lane.buffered, 0);
  const promised = () => held() + lanes.reduce((sum, lane) => sum + lane.open, 0);
  const limit = slots + PULL_SURPLUS * (LANES.length - 1);
  for (const { lane, take, finish, pending } of steps) {
    const asks = planPulls({ slots, running, lanes }, mode, shares);
    asks.forEach((asked, i) => {
      expect(asked).toBeGreaterThanOrEqual(0);
      lanes[i]!.open += asked;
    });
    expect(promised()).toBeLessThanOrEqual(limit);
    let ahead = 0;
    for (const { buffered, open } of lanes) {
      ahead += buffered;
      const free = slots - running - ahead;
      // Half of it: a busy lane does not ask for every single task.
      if (promised() < limit) expect(open * 2).toBeGreaterThanOrEqual(Math.min(PULL_SURPLUS, free) - buffered);
    }
    const delivered = Math.min(take, lanes[lane]!.open);
    lanes[lane]!.open -= delivered;
    lanes[lane]!.buffered += delivered;
    lanes[lane]!.pending = pending;
    running -= Math.min(finish, running);
    for (const other of lanes) {
      const started = Math.min(other.buffered, slots - running);
      other.buffered -= started;
      running += started;
    }
  }
}

describe('pull plans', () => {
  it('never promise more than slots + 8 × (lanes − 1), and keep every lane fed while there is room', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 300 }),
        fc.constantFrom('strict' as const, 'weighted' as const),
        weights,
        fc.array(step, { maxLength: 120 }),
        (slots, mode, shares, steps) => walk(slots, mode, shares, steps),
      ),
      { numRuns: 300 },
    );
  });

  it('an idle worker keeps min(8, slots) open on every lane', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.constantFrom('strict' as const, 'weighted' as const), (slots, mode) => {
        const idle = LANES.map(() => ({ buffered: 0, open: 0, pending: 0 }));
        expect(planPulls({ slots, running: 0, lanes: idle }, mode, [8, 4, 2, 1])).toEqual(LANES.map(() => Math.min(PULL_SURPLUS, slots)));
      }),
    );
  });

  it('with limits ask for no more than may start, and what is parked counts as held', () => {
    const lane = fc.record({ buffered: fc.nat(20), open: fc.nat(20), pending: fc.nat(100) });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.nat(100),
        fc.nat(16),
        fc.array(fc.nat(60), { minLength: 4, maxLength: 4 }),
        fc.integer({ min: 1, max: PULL_SURPLUS }),
        fc.array(lane, { minLength: 4, maxLength: 4 }),
        fc.constantFrom('strict' as const, 'weighted' as const),
        (slots, running, parked, startable, surplus, lanes, mode) => {
          const asks = planPulls({ slots, running, parked, startable, surplus, lanes }, mode, [8, 4, 2, 1]);
          asks.forEach((asked, i) => {
            if (asked > 0) expect(lanes[i]!.buffered + lanes[i]!.open + asked).toBeLessThanOrEqual(startable[i]!);
          });
          const held = running + parked + lanes.reduce((sum, { buffered, open }) => sum + buffered + open, 0);
          const asked = asks.reduce((sum, one) => sum + one, 0);
          if (asked > 0) expect(held + asked).toBeLessThanOrEqual(slots + PULL_SURPLUS * 3);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('a worker limited to 7/s asks for one task and not for fifty', () => {
    const lanes = LANES.map((_, i) => ({ buffered: 0, open: 0, pending: i === 2 ? 1000 : 0 }));
    expect(planPulls({ slots: 50, running: 0, startable: [1, 1, 1, 1], lanes }, 'weighted', [8, 4, 2, 1])).toEqual([1, 1, 1, 1]);
    expect(planPulls({ slots: 50, running: 0, startable: [0, 0, 0, 0], lanes }, 'weighted', [8, 4, 2, 1])).toEqual([0, 0, 0, 0]);
  });

  it('a fast handler is fed, and a slow one gets one task per lane beyond its slots', () => {
    expect(surplusFor(50, 1)).toBe(PULL_SURPLUS);
    expect(surplusFor(1, 0)).toBe(PULL_SURPLUS);
    expect(surplusFor(10, 25)).toBe(PULL_SURPLUS);
    expect(surplusFor(2, 25)).toBe(2);
    expect(surplusFor(10, 2000)).toBe(1);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.double({ min: 0, max: 1e6, noNaN: true }), (slots, ms) => {
        expect(surplusFor(slots, ms)).toBeGreaterThanOrEqual(1);
        expect(surplusFor(slots, ms)).toBeLessThanOrEqual(PULL_SURPLUS);
        expect(surplusFor(slots, ms * 2)).toBeLessThanOrEqual(surplusFor(slots, ms));
      }),
    );
  });

  it('a full worker asks for nothing', () => {
    const lanes = LANES.map(() => ({ buffered: 0, open: 0, pending: 100 }));
    expect(planPulls({ slots: 10, running: 10, lanes }, 'weighted', [8, 4, 2, 1])).toEqual([0, 0, 0, 0]);
  });
});

describe('priorities', () => {
  it('are names in any case or numbers from 1 to 4', () => {
    for (const lane of LANES) {
      expect(parseLane(lane.toUpperCase())).toBe(lane);
      expect(parseLane(LANE_NUMBERS[lane])).toBe(lane);
    }
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.double(), fc.constantFrom('__proto__', 'constructor', 'toString')), (value) => {
        const lane = parseLane(value);
        if (lane !== undefined) expect(LANES).toContain(lane);
      }),
    );
    expect([0, 5, 1.5, Number.NaN, '', 'urgent', '1', ' high'].map(parseLane)).toEqual(Array(8).fill(undefined));
  });
});
