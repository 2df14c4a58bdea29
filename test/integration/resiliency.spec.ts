import { describe, expect, it } from 'vitest';
import { connection, exhaust, NEVER, queue, site, startResiliency, stored, streamOf, useResiliency } from './resiliency-fixture.js';
import { eventually } from './services-fixture.js';

useResiliency('resil');

describe('advisories', () => {
  it('a task that the server gave up becomes one dead letter, with two instances running', async () => {
    const reasons: string[] = [];
    for (let i = 0; i < 2; i++) await startResiliency({ onDead: (name, reason) => reasons.push(`${name} ${reason}`) });
    const history = '[{"attempt":1,"at":5,"name":"Error","message":"first"}]';
    const [sequence] = await exhaust(
      queue,
      ['given-up'],
      [
        ['Task-Type', 'mail'],
        ['Task-Attempt', '2'],
        ['Task-Errors', history],
        ['traceparent', '00-aa-bb-01'],
      ],
    );
    await eventually('the lane is empty', async () => (await site.depth(queue)) === 0);
    const letter = await site.dead(queue, 'given-up');
    expect(new TextDecoder().decode(letter?.data)).toBe('{"key":"given-up"}');
    expect(Object.fromEntries(letter?.headers ?? [])).toMatchObject({
      'Task-Type': 'mail',
      'Task-Attempt': '2',
      'Task-Errors': history,
      'Task-Dead-Reason': 'deliveries-exhausted',
      'Task-Dead-Source': `${streamOf(queue)}:${sequence}`,
      'Task-Fingerprint': expect.stringMatching(/^[0-9a-f]{8}$/),
    });
    const { record } = await site.store.record(queue, 'given-up');
    expect(record).toMatchObject({
      id: `${queue}.given-up`,
      hop: 1,
      lane: 'normal',
      type: 'mail',
      state: 'dead',
      attempt: 2,
      reason: 'deliveries-exhausted',
      trace: 'aa',
    });
    expect(await stored()).toBe(1);
    expect(reasons).toEqual([`${queue} deliveries-exhausted`]);
    await eventually('the advisory is settled', async () => (await site.messages(connection.names.advisories)) === 0);
  });

  it('a task whose workers all vanish: after the last lease, one dead letter', async () => {
    for (let i = 0; i < 2; i++) await startResiliency();
    const seen: number[] = [];
    const stop = site.work(queue, (delivery) => void seen.push(delivery.count));
    await site.enqueue(queue, 'silent');
    await eventually('the dead letter stands', async () => (await site.dead(queue, 'silent')) !== undefined, 30_000);
    stop();
    await eventually('the lane is empty', async () => (await site.depth(queue)) === 0);
    expect(seen).toEqual([1, 2, 3, 4, 5]);
    expect(await stored()).toBe(1);
  });

  it('200 tasks at once, two instances: one letter each', async () => {
    for (let i = 0; i < 2; i++) await startResiliency();
    await exhaust(
      queue,
      Array.from({ length: 200 }, (_, i) => `many${i}`),
    );
    await eventually('the lane is empty', async () => (await site.depth(queue)) === 0);
    expect(await stored()).toBe(200);
  });

  it('advisories wait while no instance runs', async () => {
    await exhaust(queue, ['waits']);
    await eventually('the advisory is kept', async () => (await site.messages(connection.names.advisories)) === 1);
    await startResiliency();
    await eventually('the dead letter stands', async () => (await site.dead(queue, 'waits')) !== undefined);
  });

  it('equal keys in two queues: two dead letters', async () => {
    const other = `${queue}-other`;
    await site.queue({ name: other, lease: '1s', maxDeliveries: 5 });
    await startResiliency();
    await exhaust(queue, ['same']);
    await exhaust(other, ['same']);
    await eventually(
      'both stand',
      async () => (await site.dead(queue, 'same')) !== undefined && (await site.dead(other, 'same')) !== undefined,
    );
  });

  it('leaves alone what went on elsewhere: only the orphan is removed', async () => {
    const keys = ['completed', 'retried', 'redelivered'];
    await exhaust(queue, keys);
    await site.store.writeRecord(queue, 'completed', { id: `${queue}.completed`, hop: 1, state: 'completed', attempt: 1, at: {} }, 60_000);
    await site.timer(queue, 'retried', { hop: 2, at: Date.now() + NEVER });
    await site.enqueue(queue, 'redelivered', { hop: 2 });
    await startResiliency();
    await eventually('the advisories are settled', async () => (await site.messages(connection.names.advisories)) === 0);
    expect(await stored()).toBe(0);
    expect(await site.depth(queue)).toBe(1);
    expect((await site.store.record(queue, 'completed')).record?.state).toBe('completed');
    expect((await site.store.record(queue, 'retried')).record).toBeUndefined();
  });

  it('an advisory older than the consumer says nothing: the task is handed out again and stays', async () => {
    await exhaust(queue, ['revived']);
    await (await connection.admin()).consumers.delete(streamOf(queue), connection.names.lane(queue, 'normal').consumer);
    await site.queue({ name: queue, lease: '1s', maxDeliveries: 5 });
    await startResiliency();
    await eventually('the advisory is settled', async () => (await site.messages(connection.names.advisories)) === 0);
    expect(await stored()).toBe(0);
    expect(await site.takeAll(queue, 1)).toEqual(['revived#1']);
  });
});
