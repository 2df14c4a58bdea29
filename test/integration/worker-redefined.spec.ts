import { type Delivery, openQueueBucket, provisionQueue } from '@jetlane/jetstream';
import type { QueueDefinition } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from './services-fixture.js';
import { WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
beforeAll(async () => {
  site = await WorkerSite.open('redefined');
});
afterAll(() => site.close());

const redefine = async (definition: QueueDefinition) => (await openQueueBucket(site.connection)).put(definition.name, definition);

describe('a worker whose queue is defined anew', () => {
  it('takes over slots, default type, retry policy and retention while it runs', async () => {
    const queue = site.queueName();
    const ran: string[] = [];
    const handlers = {
      first: () => void ran.push('first'),
      second: () => void ran.push('second'),
      fails: () => Promise.reject(new Error('no')),
    };
    const worker = await site.worker({ queue, handlers, definition: { workers: 2, defaultType: 'first', retry: { attempts: 9 } } });
    await site.send(queue, 'a');
    await eventually('the first default type ran', () => ran.length === 1);
    await redefine({ name: queue, workers: 2, concurrency: 3, defaultType: 'second', retry: { attempts: 1 }, keep: 'failures' });
    await eventually('slots are taken over', () => worker.health().slots === 6);
    await site.send(queue, 'b');
    await eventually('the second default type ran', () => ran.length === 2);
    expect(ran).toEqual(['first', 'second']);
    await site.task(queue, 'c', 'fails');
    await eventually('dead after one attempt', async () => (await site.record(queue, 'c'))?.state === 'dead');
    expect(await site.record(queue, 'a')).toMatchObject({ state: 'completed' });
    expect(await site.record(queue, 'b')).toBeUndefined();
  });

  it('gives a batch handler that is in use the new retry policy too', async () => {
    const queue = site.queueName();
    const runs: number[] = [];
    const b = {
      size: 2,
      maxWait: 20,
      handleBatch: (items: readonly unknown[]): Promise<never> => {
        runs.push(items.length);
        return Promise.reject(new Error('no'));
      },
    };
    const retry = { initialDelay: 3_600_000, maxDelay: 3_600_000 };
    const worker = await site.worker({ queue, handlers: { b, s: () => undefined }, definition: { retry: { attempts: 3, ...retry } } });
    await site.task(queue, 'before', 'b');
    const { store } = site.installation;
    await eventually('it waits for its retry', async () =>
      (await store.traces(queue, 'before')).copies.some(({ place }) => place === 'timer'),
    );
    await redefine({ name: queue, workers: 1, concurrency: 7, retry: { attempts: 1, ...retry } });
    await eventually('the worker has heard of it', () => worker.health().slots === 7);
    await site.task(queue, 'after', 'b');
    expect((await site.buried(queue, 'after')).reason).toBe('attempts-exhausted');
    expect(runs).toEqual([1, 1]);
  });

  it('renews by the shorter lease before the consumer has it: nothing is run twice', async () => {
    const queue = site.queueName();
    const runs: string[] = [];
    const handlers = {
      slow: async (_: unknown, { key }: { key: string }) => {
        runs.push(key);
        await new Promise((resolve) => setTimeout(resolve, 6000));
      },
    };
    await site.worker({ queue, handlers, concurrency: 2, definition: { lease: '60s' } });
    await site.task(queue, 'a', 'slow');
    await eventually('it runs', () => runs.length === 1);
    await redefine({ name: queue, lease: '2s' });
    await site.task(queue, 'b', 'slow');
    await eventually('the worker has heard of it', () => runs.length === 2);
    await provisionQueue(site.connection, { name: queue, lease: '2s' });
    await eventually('both are done', async () => (await site.record(queue, 'b'))?.state === 'completed');
    expect(runs).toEqual(['a', 'b']);
    expect((await site.record(queue, 'a'))?.state).toBe('completed');
  });

  it('hands back on what is the last delivery for the consumer, which has not got the higher number yet: the task comes again', async () => {
    const queue = site.queueName();
    const definition = { name: queue, maxDeliveries: 3, lease: '4s', concurrency: 1, workers: 1 } as const;
    await redefine(definition);
    await site.define(definition);
    await site.task(queue, 'k', 't');
    const { stream, consumer } = site.connection.names.lane(queue, 'normal');
    let naks = 0;
    const onDelivery = (delivery: Delivery) => {
      site.connection.nak(delivery);
      if (++naks < 2) puller.pull(1, 'wait');
    };
    const puller = site.connection.puller({ stream, consumer, onDelivery, onEnd: () => undefined });
    puller.start(site.connection.epoch);
    puller.pull(1, 'wait');
    await eventually('it was handed back twice', () => naks === 2);
    puller.stop();
    const delivered: number[] = [];
    const ends = (_: unknown, { delivery, signal }: { delivery: number; signal: AbortSignal }) => {
      delivered.push(delivery);
      return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('told to end'))));
    };
    const worker = await site.worker({ queue, handlers: { t: ends } });
    await eventually('the last delivery runs', () => delivered.join() === '3');
    await redefine({ ...definition, maxDeliveries: 10, concurrency: 2, workers: 1 });
    await eventually('the worker has heard of it', () => worker.health().slots === 2);
    await worker.stop({ timeout: 0 });
    await site.worker({ queue, handlers: { t: () => 'done' } });
    await site.reaches(queue, 'k', 'completed');
  });

  it('takes what the definition leaves open from its own defaults, and goes beyond its ceiling for nothing', async () => {
    const queue = site.queueName();
    const open = await site.worker({ queue, handlers: {}, definition: { workers: 2 }, defaults: { concurrency: 10 } });
    const careful = await site.worker({ queue, handlers: {}, defaults: { concurrency: 10 }, ceiling: { concurrency: 3 } });
    const slots = () => [open, careful].map((worker) => worker.health().slots);
    expect(slots()).toEqual([20, 6]);
    await redefine({ name: queue, workers: 2, concurrency: 4 });
    await eventually('the definition says more than the ceiling', () => slots().join() === '8,6');
    await redefine({ name: queue, workers: 3, concurrency: 1 });
    await eventually('it says less', () => slots().join() === '3,3');
  });

  it('does not make a queue again that somebody deleted', async () => {
    const queue = site.queueName();
    const worker = await site.worker({ queue, handlers: {} });
    const bucket = await openQueueBucket(site.connection);
    await bucket.remove(queue, (await bucket.get(queue))!.revision);
    const { stream } = site.connection.names.lane(queue, 'normal');
    const { streams } = await site.connection.admin();
    await streams.delete(stream);
    await eventually('it has noticed and tried again', () => worker.health().problems.some((problem) => problem.startsWith('normal')));
    expect(await streams.info(stream).catch((error: Error) => error.message)).toBe('stream not found');
  });
});
