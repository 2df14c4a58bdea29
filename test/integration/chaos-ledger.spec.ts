import { describe, expect, it } from 'vitest';
import { busiestSecond, duplicates, effectsBefore, missing, parseLedger, recovery } from '../chaos/ledger.js';
import { mergeRows } from '../chaos/report.js';

// What `npm run chaos` concludes from the audit's file; the runs themselves are in test/e2e/chaos.spec.ts.

const ledger = parseLedger(
  [
    '1000 C a 0 -',
    '1000 C b 1 -',
    '1001 C never 2 -',
    '1002 C doomed 3 dead',
    '1003 F 4 queue-full',
    '1010 E a 1 1 1 w1',
    '2500 E b 1 1 2 w2',
    '2600 E b 1 1 1 w1',
    '3000 E unconfirmed 1 1 1 w1',
    '',
  ].join('\n'),
);

describe('the ledger', () => {
  it('misses what was confirmed and had no effect, unless it was to die', () => {
    expect(missing(ledger)).toEqual(['never']);
    expect(ledger.refused).toEqual(['queue-full']);
  });

  it('knows when a task was sent, which may be long before it was confirmed', () => {
    expect(parseLedger('5000 C a 0 - 3000').confirmed.get('a')).toEqual({ at: 5000, sentAt: 3000, n: 0, dead: false });
  });

  it('counts every effect beyond the first', () => {
    expect(duplicates(ledger)).toBe(1);
  });

  it('counts what was done in the second before a fault, once', () => {
    expect(effectsBefore(ledger, [2600])).toBe(2);
    expect(effectsBefore(ledger, [2600, 2700])).toBe(2);
    expect(effectsBefore(ledger, [2499])).toBe(0);
  });

  it('finds the second in which most was done', () => {
    expect(busiestSecond(ledger)).toBe(3);
    expect(busiestSecond(parseLedger('0 E a 1 1 1 w1\n999 E b 1 1 1 w1\n1000 E c 1 1 1 w1\n'))).toBe(2);
    expect(busiestSecond(parseLedger(''))).toBe(0);
  });

  it('measures from the fault to the effect of what was waiting then, and the pause', () => {
    expect(recovery(ledger, 1500)).toEqual({ p99: 1000, gap: 1000 });
    expect(recovery(ledger, 2550)).toEqual({ p99: 0, gap: 0 });
  });

  it('counts no pause while there is nothing to do', () => {
    const idle = parseLedger('1000 C a 0 -\n1100 E a 1 1 1 w1\n9000 C b 1 -\n9200 E b 1 1 1 w1\n');
    expect(recovery(idle, 1000)).toEqual({ p99: 100, gap: 200 });
  });
});

describe('the table in the page', () => {
  const row = (name: string, figure: string) => `| \`${name}\` | ${figure} |`;

  it('keeps rows of cells that were not run now, in the order of the cells', () => {
    const old = `some text\n${row('a', 'old')}\n${row('b', 'old')}\n${row('gone', 'old')}`;
    const merged = mergeRows(old, [row('c', 'new'), row('a', 'new')], ['a', 'b', 'c']);
    expect(merged).toEqual([row('a', 'new'), row('b', 'old'), row('c', 'new')]);
  });
});
