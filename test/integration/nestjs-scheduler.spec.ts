import { getQueueToken, JetlaneModule, type Queue, type TaskContext, TaskHandler, TaskQueue } from '@jetlane/nestjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, NestSite } from './nestjs-fixture.js';

let site: NestSite;
beforeAll(async () => {
  site = await NestSite.open('nestjs-scheduler');
});
afterAll(() => site.close());

/** An application whose handler fails once. */
async function appOf(queue: string, options: Parameters<NestSite['app']>[1] = {}) {
  const attempts: number[] = [];
  @TaskQueue(queue)
  class Handlers {
    @TaskHandler('t', { retry: { attempts: 2, initialDelay: 1, maxDelay: 1 } })
    run(_: unknown, { attempt }: TaskContext) {
      attempts.push(attempt);
      if (attempt === 1) throw new Error('once');
    }
  }
  const app = await site.app({ imports: [JetlaneModule.registerQueue({ name: queue })], providers: [Handlers] }, options);
  return { app, attempts, queue: app.get<Queue>(getQueueToken(queue)) };
}

/** Requests for due tasks that wait at the server: one per scheduler. */
const schedulers = async () => {
  const { schedules, schedulerConsumer } = site.connection.names;
  return (await (await site.connection.admin()).consumers.info(schedules, schedulerConsumer)).num_waiting;
};

describe('an application with handlers', () => {
  it('moves its own retries and delays, beside any number of others, and stops with the application', async () => {
    const [one, two] = await Promise.all([appOf('own'), appOf('own')]);
    await eventually('both ask for due tasks', async () => (await schedulers()) === 2);
    const receipt = await one.queue.enqueue('t', {}, { delay: 100 });
    expect(await one.queue.result(receipt, { timeout: '20s' })).toMatchObject({ state: 'completed', attempt: 2 });
    expect([...one.attempts, ...two.attempts].sort()).toEqual([1, 2]);
    await site.stop(one.app);
    expect(await two.queue.result(await two.queue.enqueue('t'), { timeout: '20s' })).toMatchObject({ state: 'completed' });
    await site.stop(two.app);
    await eventually('nobody asks any more', async () => (await schedulers()) === 0);
  });

  it('leaves it to others when told so, or when it has no workers', async () => {
    const off = await appOf('off', { scheduler: false });
    const producer = await appOf('off', { role: 'producer' });
    const api = await site.app({ imports: [JetlaneModule.registerQueue({ name: 'off' })] });
    const receipt = await producer.queue.enqueue('t');
    await eventually('the first attempt has failed', () => off.attempts.length === 1);
    const { names } = site.connection;
    await eventually('the retry is due', async () => {
      const { consumers } = await site.connection.admin();
      return (await consumers.info(names.schedules, names.schedulerConsumer)).num_pending === 1;
    });
    expect(await schedulers()).toBe(0);
    await appOf('other');
    expect(await producer.queue.result(receipt, { timeout: '20s' })).toMatchObject({ state: 'completed', attempt: 2 });
    await api.close();
  });
});
