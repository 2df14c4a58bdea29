import { connect } from '@jetlane/jetstream';
import {
  BatchContext,
  BatchHandler,
  defineTask,
  getQueueToken,
  type ItemOutcome,
  Jetlane,
  JetlaneModule,
  type Queue,
  TaskContext,
  TaskData,
  TaskHandler,
  type TaskPayload,
  TaskQueue,
  TaskWorkers,
} from '@jetlane/nestjs';
import {
  type JetlaneMatchers,
  JetlaneTestingModule,
  jetlaneKit,
  jetlaneMatchers,
  overrideJetlane,
  stopTestServer,
  testServer,
} from '@jetlane/testing/nestjs';
import { type CanActivate, type ExecutionContext, Inject, Module, UseGuards } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { afterAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { rejection } from '../support/wait-until.js';

declare module 'vitest' {
  interface Matchers<T> extends JetlaneMatchers<T> {}
}
expect.extend(jetlaneMatchers);

const invoice = defineTask({
  queue: 'billing',
  type: 'invoice',
  version: 2,
  schema: z.object({ customer: z.string(), cents: z.number().int() }),
  result: z.object({ number: z.string() }),
  upcast: (old) => ({ customer: (old as { name: string }).name, cents: 0 }),
});

class NotOnSundays implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    return context.getArgByIndex<TaskContext>(1).group !== 'sunday';
  }
}

@TaskQueue('billing')
class Billing {
  runs = 0;

  constructor(@Inject(getQueueToken('billing')) private readonly queue: Queue) {}

  @TaskHandler(invoice)
  invoice({ customer, cents }: TaskPayload<typeof invoice>) {
    return { number: `${customer}-${cents}` };
  }

  @TaskHandler('guarded')
  @UseGuards(NotOnSundays)
  guarded(@TaskData() data: unknown, @TaskContext() { attempt }: TaskContext) {
    return { data, attempt, more: undefined };
  }

  @BatchHandler('mail', { size: 10 })
  mail(@TaskData(z.object({ to: z.email() })) mails: readonly { to: string }[], @TaskContext() batch: BatchContext): ItemOutcome[] {
    return mails.map(({ to }, i) => ({ success: true, result: { to, of: batch.tasks.length, at: new Date(i) } }));
  }

  @TaskHandler('order')
  async order(count: number) {
    await this.queue.enqueue('flaky', { count }, { delay: '1h' });
    if (count > 1) await this.queue.enqueue('order', count - 1, { lane: 'high' });
  }

  @TaskHandler('flaky', { retry: { attempts: 4, initialDelay: '1h' } })
  flaky(_: unknown, { attempt }: TaskContext) {
    this.runs++;
    if (attempt < 3) throw new Error('not yet');
  }
}

@Module({
  imports: [JetlaneModule.forRoot({ servers: 'nats://127.0.0.1:1' }), JetlaneModule.registerQueue({ name: 'billing' })],
  providers: [Billing],
})
class AppModule {}

async function open() {
  const app = await Test.createTestingModule({
    imports: [JetlaneTestingModule.forRoot(), JetlaneModule.registerQueue({ name: 'billing' })],
    providers: [Billing],
  }).compile();
  await app.init();
  return { app, kit: jetlaneKit(app), queue: app.get<Queue>(getQueueToken('billing')) };
}

afterAll(() => stopTestServer());

describe('runTask', () => {
  it('tells that the application was not initialised', async () => {
    const imports = [JetlaneTestingModule.forRoot(), JetlaneModule.registerQueue({ name: 'billing' })];
    const app = await Test.createTestingModule({ imports, providers: [Billing] }).compile();
    const { message } = await rejection(jetlaneKit(app).runTask('billing', 'invoice'));
    expect(message).toContain('was it initialised, by await app.init()?');
    await app.close();
  });

  it('calls a handler with contract, guards and JSON on the way, and stores nothing', async () => {
    const { app, kit, queue } = await open();
    expect(await kit.runTask(invoice, { customer: 'ada', cents: 5 })).toEqual({ number: 'ada-5' });
    expect(await kit.runTask(invoice, { name: 'bob' } as never, { type: 'invoice' })).toEqual({ number: 'bob-0' });
    expect(await rejection(kit.runTask(invoice, { customer: 'ada', cents: 0.5 }))).toMatchObject({ code: 'payload-mismatch' });
    const date = new Date(0);
    expect(await kit.runTask('billing', 'guarded', { date }, { attempt: 3 })).toEqual({ data: { date: date.toISOString() }, attempt: 3 });
    expect(await rejection(kit.runTask('billing', 'guarded', {}, { group: 'sunday' }))).toMatchObject({ name: 'ForbiddenException' });
    expect((await rejection(kit.runTask('billing', 'mail'))).message).toContain('runBatch');
    const unheard = await rejection(kit.runTask('billing', 'unheard'));
    expect(unheard.message).toMatch(
      /^no handler for task type "unheard" of queue "billing" in this application; the queues .* are: .*billing/,
    );
    expect((await queue.stats()).depth).toBe(0);
    await app.close();
  });

  it('has a sister for batches: outcomes in the order of the payloads, what does not fit is refused alone', async () => {
    const { app, kit } = await open();
    const outcomes = await kit.runBatch('billing', 'mail', [{ to: 'ada@example.org' }, { to: 'nobody' }, { to: 'cy@example.org' }]);
    expect(outcomes).toEqual([
      { success: true, result: { to: 'ada@example.org', of: 2, at: new Date(0).toISOString() } },
      { success: false, retryable: false, error: expect.objectContaining({ code: 'payload-mismatch' }) },
      { success: true, result: { to: 'cy@example.org', of: 2, at: new Date(1).toISOString() } },
    ]);
    expect((await rejection(kit.runBatch('billing', 'guarded', []))).message).toContain('no batch handler for task type "guarded"');
    await app.close();
  });
});

describe('toHaveEnqueued', () => {
  it('looks at what waits in the queue', async () => {
    const { app, kit, queue } = await open();
    await queue.enqueue(invoice, { customer: 'ada', cents: 5 }, { lane: 'critical', key: 'k1' });
    await queue.enqueue('order', 1, { group: 'g' });
    await queue.enqueue('order', 1, { delay: '1h' });
    await expect(queue).toHaveEnqueued({ type: invoice, data: { customer: 'ada', cents: 5 }, lane: 'critical', key: 'k1', times: 1 });
    await expect(queue).toHaveEnqueued({ data: expect.objectContaining({ customer: 'ada' }) as unknown });
    await expect(queue).toHaveEnqueued({ type: 'order', times: 2 });
    await expect(queue).toHaveEnqueued({ type: 'order', delayed: true, times: 1 });
    await expect(queue).not.toHaveEnqueued({ type: 'order', lane: 'low' });
    await expect(queue).toHaveEnqueued({ type: 'never', times: 0 });
    const failure = await rejection(expect(queue).toHaveEnqueued({ type: 'order', times: 3 }));
    expect(failure.message).toMatch(/expected 3 task like .*which has 2 such.*\n.*invoice:v2 \(critical\)/);
    await expect(expect(queue).not.toHaveEnqueued({ type: 'order' })).rejects.toThrow(/expected no task/);
    expect((await kit.waiting('billing')).map(({ type, lane, delayed }) => [type, lane, delayed])).toEqual([
      ['invoice:v2', 'critical', false],
      ['order', 'normal', false],
      ['order', 'normal', true],
    ]);
    await app.close();
  });
});

describe('drain', () => {
  it('runs all there is: follow-ups, delays and backoff of hours, in no time; then the workers are off again', async () => {
    const { app, kit, queue } = await open();
    await queue.enqueue('order', 3);
    await kit.drain();
    expect(await queue.stats()).toMatchObject({ depth: 0, scheduled: 0, dead: 0 });
    expect(app.get(Billing).runs).toBe(9);
    expect(app.get(TaskWorkers).worker('billing')!.health().state).toBe('idle');
    await app.close();
  });

  it('leaves timers alone when told so, and says what is left when it takes too long', async () => {
    const { app, kit, queue } = await open();
    await queue.enqueue('order', 1);
    await kit.drain({ timers: 'keep' });
    expect(await queue.stats()).toMatchObject({ depth: 0, scheduled: 1 });
    expect(await kit.fireTimers('billing')).toBe(1);
    await expect(queue).toHaveEnqueued({ type: 'flaky', delayed: false });
    const never = kit.drain({ timers: 'keep', timeoutMs: 0 });
    expect((await rejection(never)).message).toMatch(/not drained within 0 ms: billing has \d tasks and \d timers/);
    await app.close();
  });
});

describe('an application that connects by itself', () => {
  it('is led to the throw-away server', async () => {
    const app = await overrideJetlane(Test.createTestingModule({ imports: [AppModule] })).compile();
    await app.init();
    expect(app.get(Jetlane).connection.server).toContain(String((await testServer()).port));
    expect(app.get(Jetlane).role).toBe('producer');
    await app.close();
  });

  it('has its workers when it wants to, and tests do not see each other', async () => {
    const one = await overrideJetlane(Test.createTestingModule({ imports: [AppModule] }), { role: 'all' }).compile();
    const { app: other, queue: otherQueue } = await open();
    await one.init();
    const queue = one.get<Queue>(getQueueToken('billing'));
    await otherQueue.enqueue('order', 1);
    const done = await queue.result(await queue.enqueue(invoice, { customer: 'eve', cents: 1 }));
    expect(done).toMatchObject({ state: 'completed', result: { number: 'eve-1' } });
    expect((await otherQueue.stats()).depth).toBe(1);
    await Promise.all([one.close(), other.close()]);
  });
});

describe('stopTestServer', () => {
  it('tells what was left open', async () => {
    const { app } = await open();
    await app.close();
    const forgotten = await connect({ servers: (await testServer()).url, name: 'forgotten' });
    const error = await rejection(stopTestServer());
    expect(error.message).toMatch(/tests left open: connection \d+ "forgotten"; close every application/);
    await forgotten.close();
    await stopTestServer();
    const { app: next } = await open();
    await next.close();
  });
});
