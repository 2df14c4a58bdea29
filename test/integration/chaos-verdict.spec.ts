import { describe, expect, it } from 'vitest';
import { parseLedger } from '../chaos/ledger.js';
import { conclude, type Evidence, type Leftovers } from '../chaos/verdict.js';

// What `npm run chaos` concludes at the end of a run: a good one passes, and each broken rule alone turns it red.

const FAULT = 10_000;
const GOOD = [
  // Done at once; in hand at the fault and done again; waiting at the fault; given up as it had to be.
  '9000 C once 0 -',
  '9100 E once 1 1 1 w1',
  '9500 C twice 1 -',
  '9900 E twice 1 1 1 w1',
  '15000 E twice 1 1 2 w2',
  '9990 C late 2 -',
  '12000 E late 1 1 1 w2',
  '9990 C doomed 3 dead',
];

const nothing = (): Leftovers => ({ lane: new Set(), timers: new Set(), dead: new Set() });
const left = (what: Partial<Record<keyof Leftovers, readonly string[]>>): Leftovers => ({
  lane: new Set(what.lane),
  timers: new Set(what.timers),
  dead: new Set(what.dead),
});

const GRAVE = left({ dead: ['doomed'] });

/** The verdict about a good run with something changed. */
function verdict(change: { lines?: readonly string[]; found?: readonly Leftovers[]; rest?: Partial<Evidence> } = {}) {
  const { lines = [], found = [nothing(), GRAVE], rest = {} } = change;
  const ledger = parseLedger([...GOOD, ...lines].join('\n'));
  return conclude({ ledger, found, faults: [{ at: FAULT, held: 0 }], stuckMs: 65_000, ...rest });
}

const kinds = (change: Parameters<typeof verdict>[0]) => verdict(change).problems.map(({ kind, count }) => `${count} ${kind}`);

describe('the verdict of a chaos run', () => {
  it('finds nothing wrong with a run in which all is well', () => {
    expect(verdict()).toEqual({
      problems: [],
      confirmed: 4,
      duplicates: 1,
      // The effects of the second before the fault: their acks may have been under way.
      bound: 2,
      held: 0,
      recovery: { p99: 2000, gap: 2000 },
    });
  });

  it('lost: confirmed, no effect, no copy', () => {
    expect(kinds({ lines: ['9000 C gone 4 -'] })).toEqual(['1 lost']);
    expect(kinds({ found: [nothing(), nothing()] })).toEqual(['1 lost']);
  });

  it('stuck: a copy that waits, with or without an effect, in a lane or as a timer, in either queue', () => {
    expect(kinds({ lines: ['9000 C gone 4 -'], found: [left({ lane: ['gone'] }), GRAVE] })).toEqual(['1 stuck']);
    expect(kinds({ lines: ['9000 C gone 4 -'], found: [left({ timers: ['gone'] }), GRAVE] })).toEqual(['1 stuck']);
    expect(kinds({ found: [left({ lane: ['once'] }), GRAVE] })).toEqual(['1 stuck']);
    expect(kinds({ found: [nothing(), left({ lane: ['doomed'] })] })).toEqual(['1 stuck']);
  });

  it('stuck: done at last, but passed for longer than lease and patience by what came after it', () => {
    const lines = (at: number) => ['20000 C slow 4 -', '20001 C next 5 -', '20100 E next 1 1 1 w1', `${at} E slow 1 1 1 w1`];
    expect(kinds({ lines: lines(20_100 + 65_001) })).toEqual(['1 stuck']);
    expect(kinds({ lines: lines(20_100 + 65_000) })).toEqual([]);
  });

  it('a machine that is slow at everything lets nothing be stuck', () => {
    const slow = Array.from({ length: 100 }, (_, i) => [`${20_000 + i} C s${i} ${10 + i} -`, `${200_000 + i} E s${i} 1 1 1 w1`]).flat();
    expect(kinds({ lines: slow })).toEqual([]);
  });

  it('duplicates: more than was held and acknowledged in the second before', () => {
    const again = ['15000 E late 1 1 2 w2', '15001 E late 1 1 3 w2'];
    expect(kinds({ lines: again })).toEqual(['1 duplicates']);
    expect(kinds({ lines: again, rest: { faults: [{ at: FAULT, held: 1 }] } })).toEqual([]);
    // A fault that comes earlier allows for what was done before it, and no more.
    expect(kinds({ lines: again, rest: { faults: [{ at: 9500, held: 0 }] } })).toEqual(['2 duplicates']);
    expect(kinds({ rest: { bound: 0 } })).toEqual(['1 duplicates']);
  });

  it('dead: given up though it was not to be, also when it had its effect', () => {
    expect(kinds({ lines: ['9000 C gone 4 -'], found: [left({ dead: ['gone'] }), GRAVE] })).toEqual(['1 dead']);
    expect(kinds({ found: [left({ dead: ['once'] }), GRAVE] })).toEqual(['1 dead']);
  });

  it('refused: the producer was told that a task is not stored', () => {
    expect(kinds({ lines: ['9000 F 4 queue-full', '9001 F 5 queue-full'] })).toEqual(['2 refused']);
  });

  it('an effect of a task that was never confirmed is no problem: the answer was lost, not the task', () => {
    expect(kinds({ lines: ['9950 E unconfirmed 1 1 1 w1'] })).toEqual([]);
  });
});
