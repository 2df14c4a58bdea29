import { type CancelAnswer, TaskClient } from '@jetlane/client';
import { ensureQueue } from '@jetlane/jetstream';
import type { TaskContext } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LinkProxy } from '../support/link-proxy.js';
import { eventually } from './services-fixture.js';
import { WorkerSite } from './worker-fixture.js';

const TASKS = 160;
/** Tasks at a time, each with another head start of the cancel over the end of the handler. */
const ROUND = 16;

let site: WorkerSite;
let client: TaskClient;
beforeAll(async () => {
  site = await WorkerSite.open('race');
  client = new TaskClient(await site.installation.link());
});
afterAll(async () => {
  await client.close();
  await site.close();
});

describe('a handler that ends at the moment of the cancel', () => {
  it.each(['chosen by the producer', 'made by the client'])('answer and record agree, with keys %s', async (keys) => {
    const queue = site.queueName();
    await ensureQueue(site.connection, { name: queue });
    const ended = new Set<string>();
    const gates = new Map<string, () => void>();
    const handle = async (_: unknown, { key }: TaskContext) => {
      await new Promise<void>((resolve) => gates.set(key, resolve));
      ended.add(key);
      return 'done';
    };
    const worker = await site.worker({ queue, concurrency: ROUND, handlers: { t: handle } });
    const answers = new Map<string, CancelAnswer>();
    const race = async (n: number) => {
      const { id } = await client.enqueue(queue, { type: 't', ...(keys.startsWith('chosen') ? { key: `k${n}` } : {}) });
      const key = id.slice(id.indexOf('.') + 1);
      await eventually('it runs', () => gates.has(key));
      const headStart = n % ROUND;
      if (headStart === 0) {
        gates.get(key)!();
        await eventually('it is settled', () => ended.has(key) && worker.health().settling === 0);
      }
      const cancelling = client.cancel(id);
      if (headStart === ROUND - 1) await cancelling;
      else await new Promise((resolve) => setTimeout(resolve, headStart / 4));
      gates.get(key)!();
      answers.set(id, await cancelling);
    };
    for (let n = 0; n < TASKS; n += ROUND) await Promise.all(Array.from({ length: ROUND }, (_, i) => race(n + i)));
    await eventually('nothing runs', () => worker.health().busy + worker.health().settling === 0);
    const found = new Map<string, number>();
    for (const [id, answer] of answers) {
      const { state } = await client.status(id);
      const ran = ended.has(id.slice(id.indexOf('.') + 1)) ? 'ended' : 'did not end';
      const what = `${answer}, is ${state}, ${ran}`;
      found.set(what, (found.get(what) ?? 0) + 1);
    }
    const allowed = [
      'cancelled, is cancelled, did not end',
      'requested, is cancelled, ended',
      'requested, is cancelled, did not end',
      'too-late, is completed, ended',
    ];
    expect([...found].filter(([what]) => !allowed.includes(what))).toEqual([]);
    expect(found.size, JSON.stringify([...found])).toBeGreaterThanOrEqual(2);
  });

  // The worker's words wait in front of the server; it hears everything. Its record is sent before its reply.
  it.each([
    ['too-late', 'before the canceller gives up'],
    ['requested', 'afterwards'],
  ] as const)('that has written its record, which is stored behind the canceller’s: %s, if it comes %s', async (answer, when) => {
    const queue = site.queueName();
    await ensureQueue(site.connection, { name: queue });
    const proxy = await LinkProxy.open(site.installation.server.url);
    const link = await site.installation.link(proxy.url);
    let thaw = () => {};
    const handle = () => {
      thaw = proxy.freeze('to server');
      return 'done';
    };
    const worker = await site.worker({ queue, handlers: { t: handle } }, link);
    const { id } = await client.enqueue(queue, { type: 't' });
    await eventually('its record is on its way', () => worker.health().settling === 1);
    const cancelling = client.cancel(id);
    await eventually('the canceller was first', async () => (await client.status(id)).state === 'cancelled');
    if (when === 'afterwards') expect(await cancelling).toBe(answer);
    thaw();
    expect(await cancelling).toBe(answer);
    await eventually('the handler has ended', async () => (await client.status(id)).state === 'completed');
    await worker.stop();
    await proxy.close();
  });
});
