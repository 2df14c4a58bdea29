import { laneState, scanDeadLetters, viewDeadLetter } from '@jetlane/jetstream';
import { describe, expect, it } from 'vitest';
import {
  connection,
  exhaust,
  loseAdvisories,
  queue,
  site,
  startResiliency,
  stored,
  streamOf,
  useResiliency,
} from './resiliency-fixture.js';
import { eventually } from './services-fixture.js';

useResiliency('sweep');

describe('sweeper', () => {
  it('finds orphans whose advisory was lost', async () => {
    await exhaust(queue, ['lost1', 'lost2']);
    await loseAdvisories(2);
    const resiliency = await startResiliency();
    expect(await resiliency.sweep()).toBe(0);
    expect(await resiliency.sweep()).toBe(2);
    expect(await site.depth(queue)).toBe(0);
    expect(await stored()).toBe(2);
  });

  it('finds them beside a task that is in hand and one that waits, and leaves those', async () => {
    await exhaust(queue, ['lost1', 'lost2']);
    await loseAdvisories(2);
    await site.enqueue(queue, 'quick');
    await site.takeAll(queue, 1);
    await site.enqueue(queue, 'running');
    const { consumer, stream } = connection.names.lane(queue, 'normal');
    let running = false;
    const puller = connection.puller({ stream, consumer, onDelivery: () => (running = true), onEnd: () => undefined });
    puller.start(connection.epoch);
    puller.pull(1, 'wait');
    await eventually('in hand', () => running);
    await site.enqueue(queue, 'waiting');
    const resiliency = await startResiliency();
    await resiliency.sweep();
    expect(await resiliency.sweep()).toBe(2);
    puller.stop();
    expect(await stored()).toBe(2);
    expect(await site.inLane(queue, 'running')).toBeDefined();
    expect(await site.inLane(queue, 'waiting')).toBeDefined();
  });

  it('two sweepers at once: one letter each', async () => {
    await exhaust(
      queue,
      Array.from({ length: 100 }, (_, i) => `sweep${i}`),
    );
    await loseAdvisories(100);
    const both = [await startResiliency(), await startResiliency()];
    for (let i = 0; i < 2; i++) await Promise.all(both.map((resiliency) => resiliency.sweep()));
    expect(await site.depth(queue)).toBe(0);
    expect(await stored()).toBe(100);
  });

  it('in a busy lane it takes orphans only, never what runs, is held or waits', async () => {
    const { given, errors, stop } = busyLane(queue);
    // Advisories go nowhere: the stream that keeps them is emptied all the time, the ear on core NATS hears the truth.
    const purge = setInterval(() => void connection.admin().then(({ streams }) => streams.purge(connection.names.advisories)), 50);
    const sweepers = await Promise.all([startResiliency({ sweepMs: 100 }), startResiliency({ sweepMs: 100 })]);
    await eventually('enough were given up', () => given.size >= 40, 40_000);
    clearInterval(purge);
    await stop();
    await eventually(
      'all orphans became dead letters',
      async () => {
        await Promise.all(sweepers.map((resiliency) => resiliency.sweep()));
        return (await stored()) >= given.size && (await site.depth(queue)) === 0;
      },
      30_000,
    );
    expect(await stored()).toBe(given.size);
    for (const sequence of (await letters()).map(({ source }) => Number(source?.split(':')[1])))
      if (!given.has(sequence)) errors.push(`${sequence} was alive`);
    expect(errors).toEqual([]);
  });
});

/**
 * A lane that never rests: quick tasks, tasks held for seconds under renewed leases, tasks handed back now and then, and
 * tasks that are always handed back until the server gives them up. `given` are the sequences of the last kind.
 */
function busyLane(name: string) {
  const given = new Set<number>();
  const errors: string[] = [];
  const deaf = connection.subscribe(`$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.${streamOf(name)}.*`, ({ data }) => {
    const { stream, stream_seq: sequence } = JSON.parse(new TextDecoder().decode(data)) as { stream: string; stream_seq: number };
    if (stream === streamOf(name)) given.add(sequence);
  });
  const stopWork = site.work(name, (delivery, ack) => {
    const kind = delivery.subject.split('.').at(-1)?.split('_')[0];
    if (kind === 'bad') return void setTimeout(() => connection.nak(delivery), 5);
    if (kind === 'flaky' && delivery.count < 4) return void connection.nak(delivery);
    if (kind !== 'long') return void setTimeout(ack, 5 + Math.random() * 20);
    const renew = setInterval(() => connection.inProgress(delivery), 300);
    setTimeout(() => {
      clearInterval(renew);
      ack();
    }, 3000);
  });
  let n = 0;
  let last = 0;
  const sent: Promise<void>[] = [];
  const produce = setInterval(() => {
    const kind = n % 97 === 0 ? 'long' : n % 11 === 0 ? 'bad' : n % 7 === 0 ? 'flaky' : 'quick';
    const publish = site.enqueue(name, `${kind}_${n++}`).then(({ seq }) => {
      last = Math.max(last, seq);
    });
    sent.push(publish.catch((error: unknown) => void errors.push(String(error))));
  }, 5);
  const stop = async () => {
    clearInterval(produce);
    await Promise.all(sent);
    await eventually('the lane has come to rest', async () => {
      const found = await laneState(connection, name, 'normal');
      return found !== undefined && found.deliveredSequence >= last && found.pending === 0 && found.ackPending === 0;
    });
    stopWork();
    deaf();
  };
  return { given, errors, stop };
}

async function letters() {
  const { letters: stored } = await scanDeadLetters(connection, { queue }, { limit: 1000 });
  return stored.map((letter) => viewDeadLetter(connection.names, letter));
}
