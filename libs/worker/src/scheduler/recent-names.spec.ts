import { describe, expect, it } from 'vitest';
import { RecentNames } from './recent-names.js';

describe('RecentNames', () => {
  it('remembers so many, and forgets the one that was asked for longest ago', () => {
    const names = new RecentNames(3, () => ({ count: 0 }));
    for (const name of ['a', 'b', 'c', 'a']) names.of(name)!.count++;
    names.of('d');
    expect([names.size, ...['a', 'b', 'c', 'd'].map((name) => names.has(name))]).toEqual([3, true, false, true, true]);
    expect(names.of('a')).toEqual({ count: 2 });
    expect(names.of('b')).toEqual({ count: 0 });
  });

  it('holds a thousand of a hundred thousand', () => {
    const names = new RecentNames(1000, () => 0);
    for (let i = 0; i < 100_000; i++) names.of(`q${i}`);
    expect([names.size, names.has('q98999'), names.has('q99000')]).toEqual([1000, false, true]);
  });

  it('gives no room while all were asked for lately', () => {
    const names = new RecentNames(2, () => 'new', 100);
    names.of('a', 0);
    names.of('b', 50);
    expect(names.of('c', 99)).toBeUndefined();
    expect(names.of('a', 99)).toBe('new');
    expect(names.of('c', 149)).toBeUndefined();
    expect(names.of('c', 150)).toBe('new');
    expect([names.size, names.has('b')]).toEqual([2, false]);
  });
});
