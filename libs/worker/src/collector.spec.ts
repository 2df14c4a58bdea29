import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Collector, type Timers } from './collector.js';
import type { BatchRule } from './handler-options.js';

/** Time that passes when it is told to. */
class Clock implements Timers {
  now = 0;
  due: { at: number; run: () => void }[] = [];

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.now + ms, run };
    this.due.push(timer);
    return () => {
      this.due = this.due.filter((other) => other !== timer);
    };
  }

  advance(ms: number): void {
    const end = this.now + ms;
    for (let next = this.next(end); next; next = this.next(end)) {
      this.now = next.at;
      this.due = this.due.filter((other) => other !== next);
      next.run();
    }
    this.now = end;
  }

  private next(end: number) {
    return this.due.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
  }
}

const NO_MORE = { minGapMs: 0, accept: undefined, groupBy: undefined } as const;

const rule: fc.Arbitrary<BatchRule> = fc
  .record({ size: fc.integer({ min: 1, max: 7 }), share: fc.double({ min: 0, max: 1, noNaN: true }), maxWaitMs: fc.nat(50) })
  .map(({ size, share, maxWaitMs }) => ({
    size,
    minSize: 1 + Math.floor(share * (size - 1)),
    maxWaitMs,
    longestWaitMs: 10 * maxWaitMs,
    minGapMs: 0,
    accept: undefined,
    groupBy: undefined,
  }));
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ add: fc.constantFrom(undefined, 'a', 'b') }) },
  { weight: 3, arbitrary: fc.record({ pass: fc.nat(80) }) },
  { weight: 1, arbitrary: fc.record({ remove: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.constant({ flush: true as const }) },
);

/** What the collector should hold, group by group. */
interface Waiting {
  readonly openedAt: number;
  items: number[];
}

describe('Collector', () => {
  it('loses nothing, exceeds no size, mixes no groups and keeps its times, whatever comes', () => {
    fc.assert(
      fc.property(rule, fc.array(step, { maxLength: 120 }), (theRule, steps) => {
        const { size, minSize, maxWaitMs, longestWaitMs } = theRule;
        const clock = new Clock();
        const model = new Map<string | undefined, Waiting>();
        let flushing = false;
        let nextItem = 0;
        const collector = new Collector<number>(theRule, clock, (items, group) => {
          const { openedAt, items: expected } = model.get(group)!;
          model.delete(group);
          expect(items).toEqual(expected);
          expect(items.length).toBeLessThanOrEqual(size);
          const waited = clock.now - openedAt;
          const due = items.length === size || (waited >= maxWaitMs && items.length >= minSize) || waited >= longestWaitMs;
          expect(due || flushing).toBe(true);
        });
        for (const one of steps) {
          if ('add' in one) {
            const waiting = model.get(one.add) ?? { openedAt: clock.now, items: [] };
            waiting.items.push(nextItem);
            model.set(one.add, waiting);
            collector.add(nextItem++, one.add);
          } else if ('pass' in one) clock.advance(one.pass);
          else if ('remove' in one) {
            const all = [...model.values()].flatMap(({ items }) => items);
            const item = all[one.remove % Math.max(1, all.length)];
            expect(collector.remove((other) => other === item)).toBe(item);
            for (const [group, waiting] of model) {
              waiting.items = waiting.items.filter((other) => other !== item);
              if (waiting.items.length === 0) model.delete(group);
            }
          } else {
            flushing = true;
            const most = Math.max(0, ...[...model.values()].map(({ items }) => items.length));
            const before = [...model.values()].reduce((sum, { items }) => sum + items.length, 0);
            collector.beginFullest();
            expect([...model.values()].reduce((sum, { items }) => sum + items.length, 0)).toBe(before - most);
            flushing = false;
          }
          for (const { openedAt, items } of model.values()) {
            const waited = clock.now - openedAt;
            expect(items.length).toBeLessThan(size);
            // A timer that is due at this very moment fires with the next step that lets time pass.
            if (waited > maxWaitMs) expect(items.length).toBeLessThan(minSize);
            if (waited > 0) expect(waited).toBeLessThanOrEqual(longestWaitMs);
          }
        }
        expect(collector.takeAll().sort((a, b) => a - b)).toEqual([...model.values()].flatMap(({ items }) => items).sort((a, b) => a - b));
        expect(clock.due).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  it('takes one timer for a batch, and none that is full at once', () => {
    const clock = new Clock();
    const batches: number[][] = [];
    const collector = new Collector<number>({ size: 3, minSize: 1, maxWaitMs: 10, longestWaitMs: 100, ...NO_MORE }, clock, (items) =>
      batches.push(items),
    );
    collector.add(1, undefined);
    collector.add(2, undefined);
    expect(clock.due).toHaveLength(1);
    clock.advance(9);
    expect(batches).toEqual([]);
    clock.advance(1);
    expect(batches).toEqual([[1, 2]]);
    for (const item of [3, 4, 5, 6]) collector.add(item, undefined);
    expect(batches).toEqual([
      [1, 2],
      [3, 4, 5],
    ]);
    expect(collector.fullest).toBe(1);
  });

  it('below its least size it waits on, begins as soon as it has it, and in the end with what there is', () => {
    const clock = new Clock();
    const batches: string[] = [];
    const collector = new Collector<number>({ size: 5, minSize: 3, maxWaitMs: 10, longestWaitMs: 100, ...NO_MORE }, clock, (items, group) =>
      batches.push(`${clock.now}: ${group} ${items.join()}`),
    );
    collector.add(1, 'a');
    collector.add(2, 'b');
    clock.advance(50);
    collector.add(3, 'a');
    expect(batches).toEqual([]);
    collector.add(4, 'a');
    clock.advance(50);
    expect(batches).toEqual(['50: a 1,3,4', '100: b 2']);
  });

  it('leaves the gap between two beginnings, loses nothing, and lets nobody wait for more than the gaps', () => {
    const gaps = fc.integer({ min: 1, max: 60 });
    fc.assert(
      fc.property(rule, gaps, fc.array(step, { maxLength: 80 }), (theRule, minGapMs, steps) => {
        const clock = new Clock();
        const begun: { at: number; items: number[]; group: string | undefined }[] = [];
        const collector = new Collector<number>({ ...theRule, minGapMs }, clock, (items, group) =>
          begun.push({ at: clock.now, items: [...items], group }),
        );
        const groups: (string | undefined)[] = [];
        const removed = new Set<number>();
        for (const one of steps) {
          if ('add' in one) {
            groups.push(one.add);
            collector.add(groups.length - 1, one.add);
          } else if ('pass' in one) clock.advance(one.pass);
          else if ('remove' in one) {
            const item = collector.remove((other) => other % 20 === one.remove);
            if (item !== undefined) removed.add(item);
          } else collector.beginFullest();
        }
        clock.advance(theRule.longestWaitMs + minGapMs * (groups.length + 1));
        expect(clock.due).toEqual([]);
        expect(collector.takeAll()).toEqual([]);
        const ran = begun.flatMap(({ items }) => items);
        expect([...ran, ...removed].sort((a, b) => a - b)).toEqual(groups.map((_, item) => item));
        for (const [i, { at, items, group }] of begun.entries()) {
          expect(items.length).toBeLessThanOrEqual(theRule.size);
          expect(items.filter((item) => groups[item] !== group)).toEqual([]);
          if (i > 0) expect(at - begun[i - 1]!.at).toBeGreaterThanOrEqual(minGapMs);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('fills a batch that waits for the gap, in the order in which they were due', () => {
    const clock = new Clock();
    const batches: string[] = [];
    const collector = new Collector<number>(
      { size: 3, minSize: 1, maxWaitMs: 10, longestWaitMs: 100, ...NO_MORE, minGapMs: 50 },
      clock,
      (items, group) => batches.push(`${clock.now}: ${group} ${items.join()}`),
    );
    for (const item of [1, 2, 3, 4]) collector.add(item, 'a');
    collector.add(5, 'b');
    clock.advance(20);
    collector.add(6, 'a');
    collector.addAlone(7, 'a');
    expect(batches).toEqual(['0: a 1,2,3']);
    expect(collector.fullest).toBe(0);
    clock.advance(300);
    expect(batches).toEqual(['0: a 1,2,3', '50: a 4,6', '100: b 5', '150: a 7']);
  });

  it('may get another gap while batches wait for it', () => {
    const clock = new Clock();
    const began: number[] = [];
    const collector = new Collector<number>(
      { size: 1, minSize: 1, maxWaitMs: 10, longestWaitMs: 100, ...NO_MORE, minGapMs: 1000 },
      clock,
      () => began.push(clock.now),
    );
    for (const item of [1, 2, 3, 4, 5]) collector.add(item, undefined);
    clock.advance(10);
    collector.setGap(30);
    clock.advance(50);
    expect(began).toEqual([0, 30, 60]);
    collector.setGap(0);
    clock.advance(0);
    collector.add(6, undefined);
    expect(began).toEqual([0, 30, 60, 60, 60, 60]);
    expect(clock.due).toEqual([]);
  });
});
