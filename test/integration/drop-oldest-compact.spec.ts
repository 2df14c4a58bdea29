import { provisionLane } from '@jetlane/jetstream';
import type { Lane, QueueDefinition } from '@jetlane/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Installation } from '../support/installation.js';
import { rejection } from '../support/wait-until.js';

/** Five tasks a lane, twenty in all. */
const define = (name: string): QueueDefinition => ({ name, maxDepth: 5, dropBehavior: 'drop-oldest' });
const QUEUES = ['gone', 'remade', 'empty'].map(define);

let site: Installation;
beforeAll(async () => {
  site = await Installation.openAs('compact', 'dropc', ...QUEUES);
});
afterAll(() => site.close());

/** Fills a queue, the lower lane first. @returns the ids by lane */
async function fill(queue: string, low: number): Promise<{ low: string[]; high: string[] }> {
  const send = async (lane: Lane) => (await site.client.enqueue(queue, { type: 't', lane })).id;
  const ids: { low: string[]; high: string[] } = { low: [], high: [] };
  for (let i = 0; i < 20; i++) ids[i < low ? 'low' : 'high'].push(await send(i < low ? 'low' : 'high'));
  return ids;
}

async function loseConsumer(queue: string): Promise<void> {
  const { stream, consumer } = site.connection.names.lane(queue, 'low');
  await (await site.connection.admin()).consumers.delete(stream, consumer);
}

const dropped = async (ids: string[]) => {
  const states = await Promise.all(ids.map(async (id) => (await site.client.status(id)).state));
  return states.filter((state) => state === 'cancelled').length;
};

describe('a full queue in one stream that drops the oldest', () => {
  it.each(['gone', 'remade'])(
    'drops none of a higher lane while nobody can tell what of a lower one is in hand: its consumer is %s',
    async (queue) => {
      const ids = await fill(queue, 15);
      await loseConsumer(queue);
      if (queue === 'remade') await provisionLane(site.connection, define(queue), 'low');
      expect(await rejection(site.client.enqueue(queue, { type: 't', lane: 'high' }))).toMatchObject({ code: 'queue-full' });
      expect([await dropped(ids.low), await dropped(ids.high)]).toEqual([0, 0]);
    },
  );

  it('goes up when the lower lane is empty, with a consumer or without', async () => {
    const ids = await fill('empty', 0);
    await site.client.enqueue('empty', { type: 't', lane: 'high' });
    await loseConsumer('empty');
    await site.client.enqueue('empty', { type: 't', lane: 'high' });
    expect(await dropped(ids.high)).toBe(2);
  });
});
