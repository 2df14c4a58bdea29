import { Delivery, Frame } from '@jetlane/jetstream';
import { FatalError } from '@jetlane/protocol';
import { describe, expect, it } from 'vitest';
import type { BatchItem } from './batch-handler.js';
import { Batches } from './batches.js';
import type { Outcome } from './classify.js';
import type { BatchedHandler, BatchHandlerOptions } from './handler-options.js';
import { HeldTask } from './held-task.js';
import { compileOptions } from './options.js';
import type { BatchListener } from './running-batch.js';
import { Cancelled, Interrupted, type TaskContext } from './task-context.js';

/** Batches of two that wait for ever, and what came of the tasks. */
function bench(slots = 10, more: Partial<BatchHandlerOptions> = {}) {
  const ran: string[][] = [];
  const ends: string[] = [];
  const handleBatch = (items: readonly BatchItem<unknown>[]) => {
    ran.push(items.map(({ context }) => context.key));
    return items.map(() => ({ success: true as const }));
  };
  const handlers = { t: { handleBatch, size: 2, maxWait: '1h', groupBy: 'group' as const, ...more } };
  const options = compileOptions({ queue: 'q', handlers, concurrency: slots }, { name: 'q' }, 'w');
  const listener: BatchListener = {
    ended: (task, outcome: Outcome) => {
      if (task.slot !== 'running') return;
      task.slot = 'free';
      ends.push(`${task.key} ${'reason' in outcome ? outcome.reason : outcome.kind}`);
    },
    started: (task) => task.begin(),
    mayRun: () => true,
    progressed: () => undefined,
    logged: () => undefined,
  };
  const batches = new Batches(options, listener);
  const add = (key: string, group?: string): HeldTask => {
    const delivery = new Delivery(
      Frame.of(`tasks.q.normal.${key}`, '$JS.ACK.s.c.1.1.1.1000000.0', '', new Uint8Array(0)),
      1,
      '$JS.ACK.s.c.',
    );
    const task = new HeldTask('q', 'normal', delivery, Date.now(), performance.now());
    task.type = 't';
    task.slot = 'running';
    if (group) task.headers = { hop: 1, attempt: 1, group };
    task.span = { traceId: undefined, run: (fn) => fn(), settling: () => undefined, end: () => undefined };
    batches.add(task, options.handlers.get('t') as BatchedHandler);
    return task;
  };
  return { batches, add, ran, ends };
}

describe('a task that waits for its batch', () => {
  it('leaves at once when it is cancelled; the next one takes its place', () => {
    const { add, ran, ends } = bench();
    const first = add('a');
    first.abort(new Cancelled('by hand'));
    expect(ends).toEqual(['a by hand']);
    add('b');
    expect(ran).toEqual([]);
    add('c');
    expect(ran).toEqual([['b', 'c']]);
    expect(ends).toEqual(['a by hand', 'b completed', 'c completed']);
  });

  it('goes back when the worker stops, and so does whoever comes later', () => {
    const { batches, add, ran, ends } = bench();
    add('a', 'x');
    add('b', 'y');
    batches.stop();
    add('c', 'x');
    expect(ends).toEqual(['a interrupted', 'b interrupted', 'c interrupted']);
    expect(ran).toEqual([]);
  });

  it('is not ended twice when the abort comes while it runs or after', () => {
    const { add, ends } = bench();
    const [a] = [add('a'), add('b')];
    a.abort(new Interrupted('stop'));
    expect(ends).toEqual(['a completed', 'b completed']);
  });

  it('waits no longer when every slot waits: the fullest batch begins', () => {
    const { add, ran } = bench(3);
    add('a', 'x');
    add('b', 'y');
    expect(ran).toEqual([]);
    add('c', 'z');
    expect(ran).toEqual([['a']]);
    add('d', 'w');
    expect(ran).toEqual([['a'], ['b']]);
  });
});

describe('a payload that is looked at first', () => {
  it('keeps a task that does not fit out of every batch', () => {
    const accept = (_: unknown, { key }: TaskContext) => {
      if (key === 'bad') throw new FatalError('no', { code: 'payload-mismatch' });
      return key;
    };
    const { add, ran, ends } = bench(10, { accept });
    for (const key of ['a', 'bad', 'b']) add(key);
    expect(ran).toEqual([['a', 'b']]);
    expect(ends).toEqual(['bad payload-mismatch', 'a completed', 'b completed']);
  });

  it('may take its time: meanwhile the task may be cancelled, handed back or given up', async () => {
    const looked = new Map<string, (data: unknown) => void>();
    const accept = (_: unknown, { key }: TaskContext) => new Promise((resolve) => looked.set(key, resolve));
    const { batches, add, ran, ends } = bench(10, { accept });
    const [, cancelled] = [add('a'), add('cancelled'), add('b')];
    cancelled!.abort(new Cancelled('by hand'));
    for (const resolve of looked.values()) resolve(1);
    await expect.poll(() => [...ends].sort()).toEqual(['a completed', 'b completed', 'cancelled by hand']);
    expect(ran).toEqual([['a', 'b']]);
    add('late');
    add('stuck').abort(new Interrupted('stop'));
    batches.stop();
    looked.get('late')!(1);
    await expect.poll(() => ends.slice(3).sort()).toEqual(['late interrupted', 'stuck interrupted']);
  });
});
