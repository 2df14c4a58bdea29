import { describe, expect, it } from 'vitest';
import { type Cut, LinkProxy } from '../support/link-proxy.js';
import { bury, queue, site, startDeadLetters, useResiliency } from './resiliency-fixture.js';
import { eventually } from './services-fixture.js';

useResiliency('lcrash');

const both = (steps: [name: string, subject: RegExp][]) =>
  steps.flatMap(([name, subject]) => (['before', 'after'] as const).map((when) => ({ when, name, cut: { when, subject } satisfies Cut })));

/** Lets a copy of the service do one thing over a link that is cut on the way. */
async function killedAt(cut: Cut, command: 'redrive' | 'discard', id: string): Promise<void> {
  const proxy = await LinkProxy.open(site.server.url);
  const broken = proxy.cutAt(cut);
  const link = await site.link(proxy.url);
  const letters = await startDeadLetters({}, link);
  const attempt = letters[command]({ task_id: id }, 'ada').then(
    () => 'answered',
    () => 'lost',
  );
  await broken;
  await eventually('the link is down', () => link.state !== 'connected');
  await link.close();
  expect(await attempt).toBe('lost');
  await proxy.close();
}

describe('redrive', () => {
  it.each(
    both([
      ['removal of the source', /MSG\.DELETE\.lcrash_tasks_/],
      ['publish', /^lcrash\.tasks\./],
      ['delete', /MSG\.DELETE\.lcrash_dead_letters/],
    ]),
  )('killed just $when its $name: the next one leaves one task and no letter', async ({ cut }) => {
    const { seq: source } = await site.enqueue(queue, 'half');
    const id = await bury('half', { source });
    await killedAt(cut, 'redrive', id);
    const next = await (await startDeadLetters()).redrive({ task_id: id }, 'ada').catch((error: unknown) => error);
    if (cut.when === 'after' && cut.subject.test('MSG.DELETE.lcrash_dead_letters'))
      expect(next).toMatchObject({ code: 'dead-letter-not-found' });
    else
      expect(next).toMatchObject({
        hop: 2,
        duplicate: cut.subject.test('MSG.DELETE.lcrash_dead_letters') || (cut.when === 'after' && cut.subject.test('lcrash.tasks.')),
      });
    expect(await site.takeAll(queue, 1)).toEqual(['half#2']);
    expect([await site.depth(queue), await site.dead(queue, 'half')]).toEqual([0, undefined]);
  });
});

describe('discard', () => {
  it.each(
    both([
      ['record', /^lcrash\.states\./],
      ['delete', /MSG\.DELETE\.lcrash_dead_letters/],
    ]),
  )('killed just $when its $name: the next one ends it', async ({ cut }) => {
    const id = await bury('away');
    await killedAt(cut, 'discard', id);
    await (await startDeadLetters())
      .discard({ task_id: id }, 'ada')
      .catch((error: { code?: unknown }) => expect(error.code).toBe('dead-letter-not-found'));
    expect(await site.dead(queue, 'away')).toBeUndefined();
    const { record } = await site.store.record(queue, 'away');
    expect([record?.state, record?.at.discarded]).toEqual(['dead', expect.any(Number)]);
  });
});
