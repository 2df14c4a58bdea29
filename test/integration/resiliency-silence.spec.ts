import { ensureQueue, laneState } from '@jetlane/jetstream';
import { describe, expect, it } from 'vitest';
import { connection, loseAdvisories, queue, site, startResiliency, stored, useResiliency } from './resiliency-fixture.js';
import { eventually } from './services-fixture.js';

useResiliency('silence');

describe('a lane that never rests', () => {
  it('gives up its oldest orphan, and keeps a task that is held beside it', async () => {
    const name = `${queue}-busy`;
    await ensureQueue(connection, { name, lease: '1s', maxDeliveries: 3 });
    let given = 0;
    const seen = new Set<string>();
    const renewals: NodeJS.Timeout[] = [];
    const stop = site.work(name, (delivery, ack) => {
      const key = delivery.subject.split('.').at(-1) ?? '';
      seen.add(key);
      if (key === 'orphan') {
        given++;
        return void setTimeout(() => connection.nak(delivery), 700);
      }
      if (key === 'held') return void renewals.push(setInterval(() => connection.inProgress(delivery), 300));
      setTimeout(ack, 500);
    });
    let sent = 0;
    const produce = setInterval(() => void site.enqueue(name, `quick${sent++}`).catch(() => undefined), 100);
    await eventually('the lane is busy', () => seen.size > 5);
    // Handed back late, so that all before it is settled when the server gives it up: then no ack moves the floor past it.
    const { seq: orphan } = await site.enqueue(name, 'orphan');
    await site.enqueue(name, 'held');
    await eventually('it was given up', () => given === 3 && seen.has('held'));
    await loseAdvisories(1);

    const resiliency = await startResiliency();
    let rested = false;
    await eventually(
      'the orphan is moved',
      async () => {
        const state = await laneState(connection, name, 'normal');
        rested ||= state === undefined || state.ackPending === 0 || state.ackFloor >= orphan;
        return (await resiliency.sweep()) > 0;
      },
      30_000,
    );
    clearInterval(produce);
    for (const renewal of renewals) clearInterval(renewal);
    stop();
    expect(rested, 'the rules of the state alone would not have found it').toBe(false);
    expect(await site.dead(name, 'orphan')).toBeDefined();
    expect(await site.inLane(name, 'held')).toBeDefined();
    expect(await stored()).toBe(1);
  });
});
