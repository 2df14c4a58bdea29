import { serveCommand } from '@jetlane/nestjs/service';
import { waitUntil } from '@jetlane/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GatewayFixture, type Json } from './gateway-fixture.js';

let gateway: GatewayFixture;

beforeAll(async () => {
  gateway = await GatewayFixture.start();
});

afterAll(() => gateway.stop());

const task = (over: Json = {}): Json => ({ queue_name: 'default', task_type: 'noop', task_data: { n: 1 }, ...over });

describe('GET /api/queue/stats', () => {
  it('gives figures and says which services are missing', async () => {
    for (let i = 0; i < 2; i++) await gateway.enqueue(task({ queue_name: 'low_priority', priority: 'CRITICAL' }));
    const look = async () => {
      const { body } = await gateway.get('/api/queue/stats');
      return { body, low: (body.queues as Json[]).find(({ queue_name }) => queue_name === 'low_priority') as Json & { depth: number } };
    };
    expect(await waitUntil(async () => (await look()).low.depth >= 2, { timeoutMs: 3000 })).toBe(true);
    const { body, low } = await look();
    expect((body.missing as Json[]).map(({ service }) => service).sort()).toEqual(['analytics', 'queue-manager']);
    expect(low).toMatchObject({
      active: 0,
      failed: 0,
      paused: false,
      rates: null,
      totals: null,
      lanes: { critical: { depth: 2 }, high: { depth: 0, oldest_age_ms: null } },
    });
    expect(low.oldest_age_ms).toBeGreaterThan(0);
  });

  it('joins what queue-manager and analytics know', async () => {
    const lane = { depth: 7, ackPending: 2, oldestAgeMs: 1500 };
    const empty = { depth: 0, ackPending: 0, oldestAgeMs: null };
    const queue = {
      queue: 'default',
      lanes: { critical: lane, high: empty, normal: empty, low: empty },
      depth: 7,
      active: 2,
      scheduled: 1,
      dead: 3,
      paused: true,
    };
    const outcomes = { completed: 50, retry: 5, dead: 1, cancelled: 2, interrupted: 0, duplicate: 0 };
    const figures = {
      queue: 'default',
      window: { seconds: 10, outcomes },
      totals: outcomes,
      waitMs: { p50: 1, p95: 2, p99: 3 },
      runMs: null,
      lanes: {},
      workers: 2,
      slots: 20,
      busy: 4,
    };
    const stops = [
      serveCommand(gateway.admin, 'queue-manager', 'stats', async () => [{ ...queue, queue: 'idle' }, queue]),
      serveCommand(gateway.admin, 'analytics', 'stats', async () => [figures]),
    ];
    await gateway.admin.flush();
    const fresh = async (): Promise<Json | undefined> => {
      const { body } = await gateway.get('/api/queue/stats');
      return (body.missing as Json[]).length === 0 ? body : undefined;
    };
    expect(await waitUntil(async () => (await fresh()) !== undefined, { timeoutMs: 3000 })).toBe(true);
    const { queues } = (await fresh()) as { queues: Json[] };
    for (const stop of stops) stop();
    expect(queues.map(({ queue_name }) => queue_name)).toEqual(['default', 'idle']);
    expect(queues[0]).toMatchObject({
      ...{
        depth: 7,
        active: 2,
        scheduled: 1,
        failed: 3,
        paused: true,
        oldest_age_ms: 1500,
        lanes: { critical: { depth: 7, active: 2, oldest_age_ms: 1500 } },
      },
      ...{
        rates: { window_seconds: 10, completed_per_second: 5, failed_per_second: 0.1, retried_per_second: 0.5 },
        totals: { completed: 50, failed: 1, retried: 5, cancelled: 2 },
      },
      ...{ wait_ms: { p50: 1, p95: 2, p99: 3 }, run_ms: null, workers: { count: 2, slots: 20, busy: 4 } },
    });
    expect(queues[1]).toMatchObject({ rates: { completed_per_second: 0 }, workers: { count: 0 } });
  });

  it('never fails because a service answers nonsense', async () => {
    const stops = ['analytics', 'queue-manager'].map((service) => serveCommand(gateway.admin, service, 'stats', async () => [{ what: 1 }]));
    await gateway.admin.flush();
    const nonsense = async (): Promise<boolean> => {
      const { status, body } = await gateway.get('/api/queue/stats');
      return status === 200 && JSON.stringify(body.missing).includes('analytics failed');
    };
    expect(await waitUntil(nonsense, { timeoutMs: 3000 })).toBe(true);
    for (const stop of stops) stop();
  });

  it('gives those of one queue', async () => {
    const { body } = await gateway.get('/api/queue/stats/typed');
    expect((body.queues as Json[]).map(({ queue_name }) => queue_name)).toEqual(['typed']);
  });

  it('suggests a name for an unknown queue', async () => {
    const { status, body } = await gateway.get('/api/queue/stats/defualt');
    expect([status, body.code, body.suggestion]).toEqual([404, 'unknown-queue', 'default']);
    expect((await gateway.get('/api/queue/stats/NO%20SUCH')).status).toBe(400);
  });
});
