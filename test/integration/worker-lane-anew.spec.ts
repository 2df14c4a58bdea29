import type { Delivery } from '@jetlane/jetstream';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { redefine } from './limits-fixture.js';
import { eventually } from './services-fixture.js';
import { deferred, WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
beforeAll(async () => {
  site = await WorkerSite.open('anew');
});
afterAll(() => site.close());

it('a task of a stream that was deleted settles nothing in the new one of its name', async () => {
  const definition = { name: site.queueName(), lease: '6s' };
  const { name: queue } = definition;
  await redefine(site, definition);
  await site.define(definition);
  const { stream, consumer } = site.connection.names.lane(queue, 'normal');
  const end = deferred();
  let aborted = false;
  let ended = false;
  const handler = async (_: unknown, { key, signal }: { key: string; signal: AbortSignal }) => {
    if (key !== 'old') return;
    signal.addEventListener('abort', () => {
      aborted = true;
    });
    await end.promise;
    ended = true;
  };
  let began = false;
  const worker = await site.worker({
    queue,
    concurrency: 1,
    handlers: {
      t: (data, context) => {
        began = true;
        return handler(data, context);
      },
    },
  });
  await site.task(queue, 'old', 't');
  await eventually('it runs', () => began);
  const { streams } = await site.connection.admin();
  await streams.delete(stream);
  await site.define(definition);
  await eventually('its handler is told that the lease is lost', () => aborted);
  const held: Delivery[] = [];
  const other = await site.installation.link();
  await worker.stop({ timeout: 0 });
  await site.task(queue, 'new', 't');
  const puller = other.puller({ stream, consumer, onDelivery: (delivery) => void held.push(delivery), onEnd: () => undefined });
  puller.start(other.epoch);
  puller.pull(1, 'wait');
  await eventually('another one has the new task', () => held.length === 1);
  expect([held[0]!.key, held[0]!.streamSequence]).toEqual(['new', 1]);
  end.resolve();
  await eventually('the old handler has ended', () => ended);
  await site.connection.flush();
  expect((await streams.info(stream)).state.messages).toBe(1);
  puller.stop();
});
