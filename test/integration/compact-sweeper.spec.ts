import type { Delivery } from '@jetlane/jetstream';
import { LANES, type Lane } from '@jetlane/protocol';
import { describe, expect, it } from 'vitest';
import { connection, loseAdvisories, queue, site, startResiliency, stored, useResiliency } from './resiliency-fixture.js';
import { eventually } from './services-fixture.js';

useResiliency('compact-sweep', 'compact');

const keyOf = ({ subject }: Delivery): string => subject.split('.').at(-1)!;

/** Hands every delivery of the given keys back until the server gives them up, and settles all others at once. */
async function giveUp(keys: readonly string[], lane: Lane): Promise<void> {
  let deliveries = 0;
  const stop = site.work(queue, (delivery, ack) => {
    if (!keys.includes(keyOf(delivery))) return ack();
    deliveries++;
    connection.nak(delivery);
  });
  for (const key of keys) await site.enqueue(queue, key, { lane });
  await eventually('the server gave them up', () => deliveries === 5 * keys.length);
  stop();
}

/** A lane that never rests: quick tasks all the time, and one that is held under a lease that is renewed. */
async function keepBusy(lane: Lane): Promise<() => Promise<void>> {
  let held = false;
  const renewals: NodeJS.Timeout[] = [];
  const stopWork = site.work(queue, (delivery, ack) => {
    if (keyOf(delivery) !== 'held') return ack();
    held = true;
    renewals.push(setInterval(() => connection.inProgress(delivery), 200));
  });
  const sent: Promise<unknown>[] = [];
  await site.enqueue(queue, 'held', { lane });
  const produce = setInterval(() => sent.push(site.enqueue(queue, `quick${sent.length}`, { lane })), 5);
  await eventually('the lane is busy', () => held && sent.length > 10);
  return async () => {
    clearInterval(produce);
    await Promise.all(sent);
    for (const renewal of renewals) clearInterval(renewal);
    stopWork();
  };
}

describe('lanes in one stream', () => {
  it('each tells of the deliveries that ran out: a letter for each, from its own lane', async () => {
    await startResiliency();
    for (const lane of LANES) await giveUp([`gone-${lane}`], lane);
    await eventually('all are buried', async () => (await stored()) === 4);
    for (const lane of LANES) {
      await eventually('nothing is left', async () => (await site.inLane(queue, `gone-${lane}`, lane)) === undefined);
      expect((await site.store.record(queue, `gone-${lane}`)).record).toMatchObject({ state: 'dead', lane });
    }
  });

  it('an orphan in the lowest is found by the sweep while the highest never rests, and nothing of that one is touched', async () => {
    await giveUp(['orphan1', 'orphan2'], 'low');
    await loseAdvisories(2);
    const rest = await keepBusy('critical');
    await site.enqueue(queue, 'waits', { lane: 'normal' });
    const resiliency = await startResiliency();
    let found = 0;
    await eventually('both are found', async () => {
      found += await resiliency.sweep();
      return found >= 2;
    });
    for (let sweeps = 0; sweeps < 5; sweeps++) found += await resiliency.sweep();
    expect(found).toBe(2);
    expect(await stored()).toBe(2);
    expect(await site.inLane(queue, 'held', 'critical')).toBeDefined();
    for (const key of ['orphan1', 'orphan2']) {
      expect(await site.dead(queue, key)).toBeDefined();
      expect(await site.inLane(queue, key, 'low')).toBeUndefined();
    }
    await rest();
  });
});
