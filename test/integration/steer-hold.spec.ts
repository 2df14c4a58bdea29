import { JetlaneError } from '@jetlane/protocol';
import { Worker } from '@jetlane/worker';
import { expect, it } from 'vitest';
import { admin, ended, enqueueAll, keysOf, queue, site, startSteering, useSteering } from './steer-fixture.js';

useSteering('steerhold');

it('a task that cannot be moved while its lane is held stays where it is: it never runs in both', async () => {
  const link = await site.link();
  const publish = link.publish.bind(link);
  const until = performance.now() + 6500;
  let refused = 0;
  link.publish = (...given) => {
    if (!given[0].includes(`tasks.${queue}.high.k3`) || performance.now() > until) return publish(...given);
    refused++;
    return Promise.reject(new JetlaneError('publish-timeout', 'the server does not answer', { retryable: true }));
  };
  await startSteering({}, link);
  const keys = keysOf(10);
  await enqueueAll(keys);
  const runs: string[] = [];
  const job = await admin.queues.move({ queue, toLane: 'high', all: true });
  const noop = async (_: unknown, { key }: { key: string }) => {
    runs.push(key);
    await new Promise((resolve) => setTimeout(resolve, 6000));
  };
  const worker = new Worker(await site.link(), { queue, concurrency: 20, handlers: { noop } });
  await worker.start();
  const { state, failed, done, held, skipped } = await ended(job, 40_000);
  expect({ state, failed }).toEqual({ state: 'completed', failed: 0 });
  expect(done + held + skipped).toBe(keys.length);
  expect(refused).toBeGreaterThan(0);
  await worker.stop();
  expect(runs.sort()).toEqual(keys);
});
