import { BatchedQueue, BatchingError, ItemFailedError } from '@jetlane/batching';
import { describe, expect, it } from 'vitest';
import { Bench, type Item, LONG, play, sorted } from './batching-fixture.js';

describe('a processor that misbehaves', () => {
  const three = [
    { gap: 0, priority: 0 },
    { gap: 0, priority: 0 },
    { gap: 0, priority: 0 },
  ];

  it.each([
    ['too few results', () => [{ success: true, value: 1 }]],
    ['no results', () => undefined],
    ['results of another kind', (items: readonly Item[]) => items.map(() => ({ ok: true }))],
  ])('%s: all failed, none repeated, and the error says why', async (_, processor) => {
    const bench = new Bench({ batchSize: 3, processor: processor as never, retryStrategy: {} });
    const handles = [];
    for (let id = 0; id < 3; id++) handles.push(await bench.queue.enqueue({ id, priority: 0 }));
    await bench.clock.advance(LONG);
    expect(bench.dead).toEqual([0, 1, 2]);
    for (const { result } of handles) {
      const error = (await result.catch((thrown: unknown) => thrown)) as ItemFailedError;
      expect(error).toBeInstanceOf(ItemFailedError);
      expect(error.details.attempts).toBe(1);
      expect(error.cause).toBeInstanceOf(BatchingError);
      expect(error.cause).toMatchObject({ code: 'invalid-results' });
      expect(error.message).toContain('must return one { success } per item');
    }
  });

  it.each(['at once', 'later'])('a throw %s fails all items, which come again', async (when) => {
    let calls = 0;
    const processor = (items: readonly Item[]) => {
      if (++calls > 1) return items.map(({ id }) => ({ success: true as const, value: id }));
      if (when === 'later') return Promise.reject(new Error('boom'));
      throw new Error('boom');
    };
    const bench = new Bench({ batchSize: 3, processor, retryStrategy: {} });
    await play(bench, three);
    await bench.clock.advance(LONG);
    expect(sorted(bench.succeeded)).toEqual([0, 1, 2]);
    expect(bench.errors.map(({ message }) => message)).toEqual(['boom', 'boom', 'boom']);
  });

  it('dead letters that nobody takes are all kept, and told at every 10,000', async () => {
    const told: string[] = [];
    const queue = new BatchedQueue<number>({
      name: 'bad',
      batchSize: 1000,
      hooks: { onError: (error) => void (error instanceof BatchingError && told.push(error.code)) },
      processor: (items) => items.map(() => ({ success: false })),
    });
    await queue.enqueueMany(Array.from({ length: 20_500 }, (_, id) => id));
    await queue.drain();
    expect(told).toEqual(['many-dead-letters', 'many-dead-letters']);
    expect(queue.deadLetters.map(({ item }) => item)).toEqual(Array.from({ length: 20_500 }, (_, id) => id));
    expect(queue.takeDeadLetters().length).toBe(20_500);
    expect(queue.deadLetters).toEqual([]);
    await queue.close();
  });

  it('a retryableCheck that throws is reported, and the item comes again', async () => {
    const retryableCheck = () => {
      throw new Error('check');
    };
    const outcome = ({ id }: Item, attempt: number) =>
      attempt === 1 ? { success: false as const, error: new Error('no') } : { success: true as const, value: id };
    const bench = new Bench({ batchSize: 3, retryStrategy: { retryableCheck } }, outcome);
    await play(bench, three);
    await bench.clock.advance(LONG);
    expect(sorted(bench.succeeded)).toEqual([0, 1, 2]);
    expect(bench.errors.filter(({ message }) => message === 'check').length).toBe(3);
  });

  it('throwing hooks are reported and change nothing', async () => {
    const told: string[] = [];
    const bad = (name: string) => () => {
      throw new Error(name);
    };
    const late = (name: string) => async () => {
      throw new Error(name);
    };
    const bench = new Bench(
      {
        batchSize: 3,
        onDead: late('onDead'),
        hooks: {
          onEnqueue: bad('onEnqueue'),
          onBatchStart: late('onBatchStart'),
          onBatchComplete: bad('onBatchComplete'),
          onProcessed: late('onProcessed'),
          onQueueSizeChange: bad('onQueueSizeChange'),
          onError: (error) => {
            told.push(error.message);
            throw new Error('onError');
          },
        },
      },
      ({ id }) => (id === 2 ? { success: false, error: new Error('item') } : { success: true, value: id }),
    );
    const warnings: string[] = [];
    const listen = (warning: Error) => warnings.push(warning.message);
    process.on('warning', listen);
    const items = await play(bench, three);
    await bench.clock.advance(LONG);
    process.off('warning', listen);
    expect(bench.ids()).toEqual(items.map(({ id }) => id));
    for (const name of ['onEnqueue', 'onBatchStart', 'onBatchComplete', 'onProcessed', 'onQueueSizeChange', 'onDead', 'item'])
      expect(told).toContain(name);
    expect(warnings.some((text) => text.includes('onError'))).toBe(true);
    // Nobody took it over, so it is kept.
    expect(bench.queue.deadLetters.map(({ item }) => item.id)).toEqual([2]);
  });
});
