import { type CancelAnswer, TaskClient } from '@jetlane/client';
import { ensureQueue } from '@jetlane/jetstream';
import type { TaskContext } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from './services-fixture.js';
import { WorkerSite } from './worker-fixture.js';

const TASKS = 400;

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

/** Calls at another moment each time, from before the run to after the record. */
const moment = (n: number) => new Promise<void>((resolve) => (n % 8 === 0 ? setImmediate(resolve) : setTimeout(resolve, n % 8)));

describe('a handler that ends at the moment of the cancel', () => {
  it.each(['chosen by the producer', 'made by the client'])('answer and record agree, with keys %s', async (keys) => {
    const queue = site.queueName();
    await ensureQueue(site.connection, { name: queue });
    const ended = new Set<string>();
    const handle = async (_: unknown, { key }: TaskContext) => {
      await new Promise((resolve) => setTimeout(resolve, 3));
      ended.add(key);
      return 'done';
    };
    const worker = await site.worker({ queue, concurrency: 20, handlers: { t: handle } });
    const answers = new Map<string, CancelAnswer>();
    for (let n = 0; n < TASKS; n += 20) {
      const round = Array.from({ length: 20 }, async (_, i) => {
        const { id } = await client.enqueue(queue, { type: 't', ...(keys.startsWith('chosen') ? { key: `k${n + i}` } : {}) });
        await moment(n + i);
        answers.set(id, await client.cancel(id));
      });
      await Promise.all(round);
    }
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
});
