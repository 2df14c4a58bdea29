import type { LaneMetrics, MetricsSnapshot } from '@jetlane/protocol';
import { Histogram } from '@jetlane/telemetry';
import { describe, expect, it } from 'vitest';
import { emptyBase, foldInto } from './base-record.js';
import { Ledger } from './ledger.js';
import { statsOf } from './stats.js';

function times(...ms: number[]): string {
  const histogram = new Histogram();
  for (const value of ms) histogram.record(value * 1000);
  return histogram.encode();
}

const lane = (completed: number, ...runMs: number[]): LaneMetrics => ({
  counts: { completed },
  run: times(...runMs),
  wait: times(...runMs.map(() => 1)),
});

function snapshot(worker: string, normal: LaneMetrics, startedAt = 1): MetricsSnapshot {
  return { worker, queue: 'q', startedAt, at: 2, slots: 1, busy: 0, lanes: { normal } };
}

/** A ledger with a clock that the test moves. */
function ledgerAt(windowSeconds = 10) {
  const clock = { ms: 1_000_000 };
  const ledger = new Ledger(windowSeconds, () => clock.ms);
  return { ledger, clock, stats: () => statsOf(ledger, 'q', undefined) };
}

describe('Ledger', () => {
  it('counts what is stored into the totals and not into the window', () => {
    const { ledger, stats } = ledgerAt();
    ledger.report(snapshot('a', lane(3, 5, 5, 5)));
    ledger.goLive();
    expect(stats()).toMatchObject({ totals: { completed: 3 }, window: { outcomes: { completed: 0 } }, runMs: null });
  });

  it('counts only what a later report has more', () => {
    const { ledger, stats } = ledgerAt();
    ledger.goLive();
    ledger.report(snapshot('a', lane(1, 5)));
    ledger.report(snapshot('a', lane(1, 5)));
    ledger.report(snapshot('a', lane(3, 5, 100, 100)));
    ledger.report(snapshot('b', lane(1, 5)));
    const { totals, window, runMs } = stats();
    expect([totals.completed, window.outcomes.completed]).toEqual([4, 4]);
    expect(runMs?.p50).toBeCloseTo(5, 0);
    expect(runMs?.p99).toBeGreaterThan(99);
  });

  it('forgets seconds that leave the window, keeps totals, and gives rates over what it has watched', () => {
    const { ledger, clock, stats } = ledgerAt(10);
    ledger.goLive();
    ledger.report(snapshot('a', lane(20, 5)));
    clock.ms += 4000;
    expect(stats().window).toMatchObject({ seconds: 4, completedPerSecond: 5 });
    ledger.report(snapshot('a', lane(30, 5, 7)));
    clock.ms += 7000;
    expect(stats()).toMatchObject({
      totals: { completed: 30 },
      window: { seconds: 10, outcomes: { completed: 10 }, completedPerSecond: 1 },
    });
    clock.ms += 10_000;
    expect(stats()).toMatchObject({ totals: { completed: 30 }, window: { outcomes: { completed: 0 } }, waitMs: null });
  });

  it('takes a worker id that starts anew for another run', () => {
    const { ledger, stats } = ledgerAt();
    ledger.goLive();
    ledger.report(snapshot('a', lane(5, 1)));
    ledger.report(snapshot('a', lane(2, 1), 99));
    expect(stats().totals.completed).toBe(7);
  });

  it('begins from a base and does not count again what is contained in it', () => {
    const word = snapshot('gone', lane(7, 1, 2));
    const base = foldInto(emptyBase('q'), [word], 1);
    for (const order of ['base first', 'word first']) {
      const { ledger, stats } = ledgerAt();
      if (order === 'base first') ledger.base(base);
      // A crash between writing the base and deleting the word leaves both.
      ledger.report(word);
      if (order === 'word first') ledger.base(base);
      ledger.goLive();
      expect(stats().totals.completed, order).toBe(7);
      expect(ledger.lanes('q').get('normal')?.run.count, order).toBe(2);
    }
  });

  it('does not change when another process folds a worker, and hears of what it had missed', () => {
    const { ledger, stats } = ledgerAt();
    ledger.goLive();
    ledger.report(snapshot('a', lane(5, 1)));
    const base = foldInto(emptyBase('q'), [snapshot('a', lane(5, 1)), snapshot('never seen', lane(4, 1))], 1);
    ledger.base(base);
    expect(stats().totals.completed).toBe(5);
    const later = ledgerAt();
    later.ledger.goLive();
    later.ledger.report(snapshot('a', lane(3, 1)));
    later.ledger.base(base);
    expect(later.stats().totals.completed).toBe(5);
  });

  it('counts on when a folded worker comes back', () => {
    const { ledger, stats } = ledgerAt();
    ledger.goLive();
    ledger.report(snapshot('a', lane(5, 1)));
    ledger.base(foldInto(emptyBase('q'), [snapshot('a', lane(5, 1))], 1));
    ledger.report(snapshot('a', lane(6, 1, 1)));
    ledger.report(snapshot('a', lane(8, 1, 1, 1, 1)));
    expect(stats().totals.completed).toBe(8);
  });

  it('lives with a histogram that it cannot read', () => {
    const { ledger, stats } = ledgerAt();
    ledger.goLive();
    ledger.report(snapshot('a', { counts: { completed: 2 }, run: 'rubbish' }));
    expect(stats()).toMatchObject({ totals: { completed: 2 }, runMs: null });
  });
});

describe('foldInto', () => {
  it('is idempotent, and adds only the growth of a worker that came back', () => {
    const once = foldInto(emptyBase('q'), [snapshot('a', lane(5, 1))], 1);
    const twice = foldInto(once, [snapshot('a', lane(5, 1))], 2);
    expect(twice.lanes).toEqual(once.lanes);
    const grown = foldInto(twice, [snapshot('a', lane(9, 1, 1))], 3);
    expect(grown.lanes.normal?.counts).toEqual({ completed: 9 });
  });

  it('stays bounded however many workers it swallows', () => {
    const many = Array.from({ length: 800 }, (_, i) => snapshot(`w${i}`, { counts: { completed: 1 } }));
    const base = foldInto(emptyBase('q'), many, 1);
    expect(base.lanes.normal?.counts).toEqual({ completed: 800 });
    expect(Object.keys(base.folded)).toHaveLength(500);
  });
});
