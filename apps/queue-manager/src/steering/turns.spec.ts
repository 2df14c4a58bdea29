import { describe, expect, it } from 'vitest';
import { Turns } from './turns.js';

const ticks = async (count: number) => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

describe('turns', () => {
  it('are sent in order, though the later ones are ready first', async () => {
    const turns = new Turns();
    const sent: number[] = [];
    const send = (i: number) =>
      turns.take(async ({ before, onSent }) => {
        await ticks(10 - i);
        await before;
        sent.push(i);
        onSent();
      });
    await Promise.all(Array.from({ length: 10 }, (_, i) => send(i)));
    expect(sent).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('of one that ends without sending does not let a later one pass those before', async () => {
    const turns = new Turns();
    const sent: string[] = [];
    const slow = turns.take(async ({ onSent }) => {
      await ticks(5);
      sent.push('slow');
      onSent();
    });
    const failed = turns.take(() => Promise.reject(new Error('not sent')));
    const last = turns.take(async ({ before }) => {
      await before;
      sent.push('last');
    });
    await expect(failed).rejects.toThrow('not sent');
    await Promise.all([slow, last]);
    expect(sent).toEqual(['slow', 'last']);
  });

  it('behind one that comes again later are closed, those before it stay open', async () => {
    const turns = new Turns();
    const sent: number[] = [];
    const send = (i: number) =>
      turns.take(async ({ before, onSent, open, endRow }) => {
        // Both are known to come again before any is sent.
        if (i === 6 || i === 3) return endRow();
        await ticks(5 - i);
        await before;
        if (open()) sent.push(i);
        onSent();
      });
    await Promise.all(Array.from({ length: 10 }, (_, i) => send(i)));
    expect(sent).toEqual([0, 1, 2]);
  });
});
