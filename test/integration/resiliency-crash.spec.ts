import { leaderGetSequence } from '@jetlane/jetstream';
import { describe, expect, it } from 'vitest';
import { type Cut, LinkProxy } from '../support/link-proxy.js';
import { connection, exhaust, queue, site, startResiliency, stored, streamOf, useResiliency } from './resiliency-fixture.js';
import { eventually } from './services-fixture.js';

useResiliency('crash');

/** Every message of a move, in order. */
const STEPS: [name: string, subject: RegExp][] = [
  ['get', /STREAM\.MSG\.GET\.crash_tasks_/],
  ['dead letter', /^crash\.dead\./],
  ['record', /^crash\.states\./],
  ['delete', /STREAM\.MSG\.DELETE\.crash_tasks_/],
  ['ack', /^\$JS\.ACK\.crash_advisories/],
];

describe('resiliency killed', () => {
  it.each(
    STEPS.flatMap(([name, subject]) => (['before', 'after'] as const).map((when) => ({ when, name, cut: { when, subject } as Cut }))),
  )('just $when its $name: one dead letter, nothing left in the lane, two copies going on', async ({ cut }) => {
    const advisories: string[] = [];
    const subject = `$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.${streamOf(queue)}.${connection.names.lane(queue, 'normal').consumer}`;
    const stop = connection.subscribe(subject, ({ data }) => void advisories.push(new TextDecoder().decode(data)));
    const proxy = await LinkProxy.open(site.server.url);
    const broken = proxy.cutAt(cut);
    const victim = await site.link(proxy.url);
    await startResiliency({}, victim);
    const [sequence = 0] = await exhaust(queue, ['crash']);
    await broken;
    await victim.close();
    stop();
    for (let i = 0; i < 2; i++) await startResiliency();
    // The advisory comes again when the dead process's lease on it ends, after 15 s: here at once, by hand.
    const left = await site.messages(connection.names.advisories);
    connection.send(subject, advisories[0]);
    await connection.flush();
    await eventually('the advisory is settled', async () => (await site.messages(connection.names.advisories)) === left);
    await eventually('the record says dead', async () => (await site.store.record(queue, 'crash')).record?.state === 'dead');
    await eventually('nothing is left', async () => (await leaderGetSequence(connection, streamOf(queue), sequence)) === undefined);
    expect(await stored()).toBe(1);
    expect(await site.dead(queue, 'crash')).toBeDefined();
    await proxy.close();
  });
});
