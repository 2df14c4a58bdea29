import { deleteMessage, leaderGetSequence } from '@jetlane/jetstream';
import { describe, expect, it } from 'vitest';
import { DeadLetters } from '../../apps/resiliency/src/dead-letters.js';
import { OrphanMover, type OrphanStep } from '../../apps/resiliency/src/orphan-mover.js';
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
    await (await connection.admin()).consumers.delete(streamOf(queue), connection.names.consumer);
    await site.queue({ name: queue, lease: '1s', maxDeliveries: 5 });
    await startResiliency();
    await eventually('the advisory is settled', async () => (await site.messages(connection.names.advisories)) === 0);
    expect(await stored()).toBe(0);
    expect(await site.takeAll(queue, 1)).toEqual(['revived#1']);
  });

  it.each<OrphanStep>(['read', 'buried', 'recorded', 'deleted'])(
    'killed after "%s": one dead letter, nothing left in the lane',
    async (last) => {
      const [sequence = 0] = await exhaust(queue, ['crash']);
      const mover = new OrphanMover(connection, {
        keepMs: () => 60_000,
        onStep: (step) => {
          if (step === last) throw new Error('killed');
        },
      });
      await expect(mover.move({ stream: streamOf(queue), sequence })).rejects.toThrow('killed');
      for (let i = 0; i < 2; i++) await startResiliency();
      await eventually('the advisory is settled', async () => (await site.messages(connection.names.advisories)) === 0);
      expect(await stored()).toBe(1);
      expect(await leaderGetSequence(connection, streamOf(queue), sequence)).toBeUndefined();
      expect((await site.store.record(queue, 'crash')).record?.state).toBe('dead');
    },
  );
});

describe('dead letters', () => {
  it('lists, shows and redrives; history stays, attempts start anew', async () => {
    await startResiliency();
    const history = '[{"attempt":1,"at":5,"name":"Error","message":"first"}]';
    await exhaust(
      queue,
      ['again', 'other'],
      [
        ['Task-Type', 'mail'],
        ['Task-Attempt', '3'],
        ['Task-Errors', history],
      ],
    );
    await eventually('the dead letters stand', async () => (await stored()) === 2 && (await site.depth(queue)) === 0);
    const dead = new DeadLetters(connection);
    const page = await dead.list({ queue, limit: 1 });
    expect(page.items).toHaveLength(1);
    expect((await dead.list({ queue, after: page.next })).items).toHaveLength(1);
    expect(await dead.get({ id: `${queue}.again` })).toMatchObject({
      reason: 'deliveries-exhausted',
      lane: 'normal',
      attempt: 3,
      data: { key: 'again' },
      history: [{ message: 'first' }],
    });
    await expect(dead.get({ id: `${queue}.none` })).rejects.toMatchObject({ code: 'task-not-found' });
    await expect(dead.list({ limit: 0 })).rejects.toMatchObject({ code: 'invalid-argument' });

    expect(await dead.redrive({ id: `${queue}.again` })).toMatchObject({ hop: 2, lane: 'normal', duplicate: false });
    const back = await site.inLane(queue, 'again');
    expect(Object.fromEntries(back?.headers ?? [])).toEqual({
      'Nats-Msg-Id': 'again#2',
      'Task-Type': 'mail',
      'Task-Errors': history,
      'Task-Hop': '2',
    });
    expect(await site.dead(queue, 'again')).toBeUndefined();
    expect(await site.dead(queue, 'other')).toBeDefined();
  });

  it('redrive after a crash between publish and delete, and twice at once: one task', async () => {
    await startResiliency();
    await exhaust(queue, ['half', 'twice']);
    await eventually('the dead letters stand', async () => (await stored()) === 2 && (await site.depth(queue)) === 0);
    await site.enqueue(queue, 'half', { hop: 2 });
    const dead = new DeadLetters(connection);
    expect(await dead.redrive({ id: `${queue}.half` })).toMatchObject({ hop: 2, duplicate: true });
    const both = await Promise.allSettled([dead.redrive({ id: `${queue}.twice` }), dead.redrive({ id: `${queue}.twice` })]);
    expect(both.some(({ status }) => status === 'fulfilled')).toBe(true);
    expect((await site.takeAll(queue, 2)).sort()).toEqual(['half#2', 'twice#2']);
    expect(await site.depth(queue)).toBe(0);
  });

  it('a full lane keeps the dead letter', async () => {
    await startResiliency();
    await exhaust(queue, ['stays']);
    await eventually('the dead letter stands', async () => (await stored()) === 1 && (await site.depth(queue)) === 0);
    await site.queue({ name: queue, lease: '1s', maxDeliveries: 5, maxDepth: 1 });
    const blocker = await site.enqueue(queue, 'blocker');
    await expect(new DeadLetters(connection).redrive({ id: `${queue}.stays` })).rejects.toMatchObject({ code: 'queue-full' });
    expect(await site.dead(queue, 'stays')).toBeDefined();
    await deleteMessage(connection, streamOf(queue), blocker.seq);
    await new DeadLetters(connection).redrive({ id: `${queue}.stays` });
    expect(await site.takeAll(queue, 1)).toEqual(['stays#2']);
  });
});
