import { afterAll, beforeAll, expect, it } from 'vitest';
import { LaneConsumers } from '../../apps/resiliency/src/lane-consumers.js';
import { Installation } from './services-fixture.js';

let site: Installation;
beforeAll(async () => {
  site = await Installation.open('lane-consumers');
});
afterAll(() => site.close());

it('states of lanes are asked about once a second, and lanes of queues that are gone are forgotten', async () => {
  await site.queue({ name: 'stays' });
  let now = 0;
  const consumers = new LaneConsumers(site.connection, () => now);
  const place = (queue: string) => site.connection.names.lane(queue, 'normal');
  const first = consumers.get(place('stays'));
  expect(consumers.get(place('stays'))).toBe(first);
  expect(await first).toMatchObject({ ackPending: 0 });
  await Promise.all(Array.from({ length: 1200 }, (_, i) => consumers.get(place(`gone${i}`))));
  expect(consumers.size).toBe(1201);
  now = 2000;
  expect(consumers.get(place('stays'))).not.toBe(first);
  expect(consumers.size).toBe(1);
});
