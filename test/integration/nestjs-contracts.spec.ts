import {
  defineTask,
  getQueueToken,
  JetlaneModule,
  type Queue,
  TaskHandler,
  type TaskPayload,
  TaskQueue,
  type TaskReturn,
} from '@jetlane/nestjs';
import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from 'vitest';
import { z } from 'zod';
import { rejection } from '../support/wait-until.js';
import { NestSite, QUICK } from './nestjs-fixture.js';

let site: NestSite;
beforeAll(async () => {
  site = await NestSite.open('nestjs-contracts');
});
afterAll(() => site.close());

const order = defineTask({
  queue: 'orders',
  type: 'order',
  schema: z.object({ id: z.string(), due: z.iso.date().transform((text) => new Date(text)), items: z.array(z.string()).default([]) }),
  result: z.object({ total: z.number() }),
});

/** The same contract as a later release has it. */
const orderV2 = defineTask({
  queue: 'orders',
  type: 'order',
  version: 2,
  schema: z.object({ id: z.string(), lines: z.array(z.string()) }),
  upcast: (old) => ({ id: (old as { id: string }).id, lines: (old as { items?: string[] }).items ?? [] }),
});

@TaskQueue('orders')
class Orders {
  seen: TaskPayload<typeof order>[] = [];

  @TaskHandler(order)
  handle(data: TaskPayload<typeof order>): TaskReturn<typeof order> {
    this.seen.push(data);
    return data.id === 'broken' ? ({ total: 'many' } as never) : { total: data.items.length };
  }
}

describe('a contract', () => {
  it('checks what is enqueued, stores it as given, and gives the handler what the schema makes of it', async () => {
    const app = await site.app({ imports: [JetlaneModule.registerQueue({ name: 'orders', retry: QUICK })], providers: [Orders] });
    const queue = app.get<Queue>(getQueueToken('orders'));
    const receipt = await queue.enqueue(order, { id: 'a', due: '2030-01-02' });
    const done = await queue.result(receipt);
    expectTypeOf(done.result).toEqualTypeOf<{ total: number } | undefined>();
    expect(done).toMatchObject({ state: 'completed', type: 'order', result: { total: 0 } });
    expect(app.get(Orders).seen).toEqual([{ id: 'a', due: new Date('2030-01-02'), items: [] }]);

    const refused = await rejection(queue.enqueue(order, { id: 'b', due: 'tomorrow', items: [1 as never] }));
    expect(refused).toMatchObject({ code: 'payload-mismatch', details: { queue: 'orders', type: 'order' } });
    expect(refused.message).toMatch(/due: .*items\[0\]: /);

    // A stranger's client knows no contract.
    const dead = await queue.result(await queue.enqueue('order', { id: 7 }));
    expect(dead).toMatchObject({ state: 'dead', reason: 'payload-mismatch', attempt: 1 });
    expect(dead.error?.message).toMatch(/id: .*due: /);

    const broken = await queue.result(await queue.enqueue(order, { id: 'broken', due: '2030-01-02' }));
    expect(broken).toMatchObject({ state: 'dead', reason: 'result-mismatch' });
    expect(app.get(Orders).seen).toHaveLength(2);
    await app.close();
  });

  it('tells of each of many payloads that does not fit, by its place', async () => {
    const app = await site.app({ imports: [JetlaneModule.registerQueue({ name: 'orders' })] });
    const queue = app.get<Queue>(getQueueToken('orders'));
    const good = { id: 'g', due: '2030-01-02' };
    const bad = { id: 'g', due: 'never' };
    const failed: number[] = [];
    const stored: number[] = [];
    const summary = await queue.enqueueMany(order, [bad, good, bad, bad, good, good, bad], {
      lane: 'low',
      delay: '1h',
      onError: (_, index) => failed.push(index),
      onReceipt: ({ lane }, index) => lane === 'low' && stored.push(index),
    });
    expect(summary).toEqual({ accepted: 3, duplicates: 0, failed: 4 });
    expect(failed).toEqual([0, 2, 3, 6]);
    expect(stored.sort()).toEqual([1, 4, 5]);
  });

  it('belongs to one queue', async () => {
    const app = await site.app({ imports: [JetlaneModule.registerQueue({ name: 'other' })] });
    const error = await rejection(app.get<Queue>(getQueueToken('other')).enqueue(order, { id: 'a', due: '2030-01-02' }));
    expect(error).toMatchObject({ code: 'invalid-argument' });
    expect(error.message).toContain('belongs to queue "orders"');
    @TaskQueue('other')
    class Misplaced {
      @TaskHandler(order)
      handle(): never {
        throw new Error('never called');
      }
    }
    const start = site.app({ imports: [JetlaneModule.registerQueue({ name: 'other' })], providers: [Misplaced] });
    expect((await rejection(start)).message).toMatch(/Misplaced\.handle of .*add @TaskQueue\("orders"\)/);
  });

  it('takes tasks of the version before, while old and new releases run side by side', async () => {
    @TaskQueue('orders')
    class NewOrders {
      @TaskHandler(orderV2)
      handle({ id, lines }: TaskPayload<typeof orderV2>) {
        return `${id}:${lines.join()}`;
      }
    }
    const app = await site.app({ imports: [JetlaneModule.registerQueue({ name: 'orders' })], providers: [NewOrders] });
    const queue = app.get<Queue>(getQueueToken('orders'));
    const old = await queue.enqueue('order', { id: 'old', items: ['x', 'y'] });
    const fresh = await queue.enqueue(orderV2, { id: 'new', lines: ['z'] });
    expect((await queue.result(old)).result).toBe('old:x,y');
    const done = await queue.result(fresh);
    expect(done).toMatchObject({ type: 'order:v2', result: 'new:z' });
  });

  it('whose code throws at a payload makes the task dead at once, with the issue', async () => {
    @TaskQueue('orders')
    class NewOrders {
      @TaskHandler(orderV2)
      handle() {}
    }
    const app = await site.app({ imports: [JetlaneModule.registerQueue({ name: 'orders', retry: QUICK })], providers: [NewOrders] });
    const queue = app.get<Queue>(getQueueToken('orders'));
    // Its upcast reads a field of null.
    const dead = await queue.result(await queue.enqueue('order', null));
    expect(dead).toMatchObject({ state: 'dead', reason: 'payload-mismatch', attempt: 1 });
    expect(dead.error?.message).toMatch(/^the payload does not fit task type "order": Cannot read properties of null/);
  });
});
