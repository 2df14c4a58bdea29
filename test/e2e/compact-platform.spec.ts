import { TaskClient } from '@jetlane/client';
import { ensureQueue, listLaneStreams } from '@jetlane/jetstream';
import { FatalError } from '@jetlane/protocol';
import { Worker } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/wait-until.js';
import { UsersSite } from './nats-users-fixture.js';

const PATIENCE = 30_000;

interface Seen {
  readonly queue_name: string;
  readonly lanes: Readonly<Record<string, { readonly depth: number }>>;
}

let site: UsersSite;
beforeAll(async () => {
  site = await UsersSite.start('compact');
  await site.services();
}, 120_000);
afterAll(() => site.stop());

describe('the platform in topology compact, each process under its own user', () => {
  it('runs, retries and buries tasks, and shows them, without a permission that is missing', async () => {
    await ensureQueue(await site.connect('queue-manager'), { name: 'dense', retry: { attempts: 3, initialDelay: 1, maxDelay: 5 } });
    const client = new TaskClient(await site.connect('producer'));
    let failures = 1;
    const worker = new Worker(await site.connect('worker'), {
      queue: 'dense',
      handlers: {
        ok: (data) => ({ data }),
        flaky: () => {
          if (failures-- > 0) throw new Error('once');
        },
        broken: () => {
          throw new FatalError('never');
        },
      },
    });
    await worker.start();
    const ok = await client.enqueue('dense', { type: 'ok', data: 1, lane: 'critical' });
    const flaky = await client.enqueue('dense', { type: 'flaky', lane: 'low', key: 'flaky' });
    const broken = await client.enqueue('dense', { type: 'broken', lane: 'high' });
    const later = await client.enqueue('dense', { type: 'ok', data: 2, lane: 'low', delay: 200 });
    expect(await client.result(ok.id, { timeout: PATIENCE })).toMatchObject({ state: 'completed', result: { data: 1 } });
    expect(await client.result(flaky.id, { timeout: PATIENCE })).toMatchObject({ state: 'completed', attempt: 2, lane: 'low' });
    expect(await client.result(broken.id, { timeout: PATIENCE })).toMatchObject({ state: 'dead', lane: 'high' });
    expect(await client.result(later.id, { timeout: PATIENCE })).toMatchObject({ state: 'completed', lane: 'low' });
    await worker.stop();
    await client.enqueue('dense', { type: 'ok', lane: 'low' });
    await eventually(
      'the gateway shows the depth of the lane',
      async () => {
        const { queues } = (await (await fetch(`${site.gateway}/api/queue/stats`)).json()) as { queues: Seen[] };
        return queues.some(({ queue_name, lanes }) => queue_name === 'dense' && lanes.low?.depth === 1);
      },
      { timeoutMs: PATIENCE },
    );
    const streams = await listLaneStreams(await site.connect('queue-manager'));
    expect(streams.every(({ lanes, consumers }) => lanes.length === 4 && consumers === 4)).toBe(true);
    expect(streams.map(({ queue }) => queue).sort()).toEqual(['default', 'dense', 'high_priority', 'low_priority']);
    expect(site.violations()).toEqual([]);
    await client.close();
  });

  it('services of another topology do not come up, and say what to set', async () => {
    const strangers = (['queue-manager', 'gateway', 'scheduler'] as const).map((name) => site.child(name, 0, 'lanes'));
    for (const stranger of strangers) {
      expect(await stranger.exited).toBeGreaterThan(0);
      expect(stranger.output).toContain('set JETLANE_TOPOLOGY=compact');
    }
  });
});
