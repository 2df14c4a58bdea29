import { leaderGet } from '@jetlane/jetstream';
import { callService } from '@jetlane/nestjs/service';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AnalyticsFixture, eventually } from './analytics-fixture.js';

describe('analytics', () => {
  let fixture: AnalyticsFixture;
  beforeAll(async () => {
    fixture = await AnalyticsFixture.open('analytics');
  });
  afterAll(() => fixture.close());

  it('adds up what was stored while it was down, by workers that are gone since, and what comes live', async () => {
    await fixture.worker('orders', 'dead-1').did('normal', 'completed', 10, 2, 20).did('high', 'dead', 1, 1, 5).report();
    const alive = fixture.worker('orders', 'alive').did('normal', 'completed', 5, 2, 20);
    await alive.report();
    const { service } = await fixture.start();

    const before = await fixture.stats('orders');
    expect(before).toMatchObject({ totals: { completed: 15, dead: 1 }, window: { outcomes: { completed: 0 } }, waitMs: null });

    await alive.did('normal', 'completed', 30, 4, 40).did('normal', 'retry', 2, 4, 40).report();
    await eventually('live figures', async () => (await fixture.stats('orders')).totals.completed === 45);
    const after = await fixture.stats('orders');
    expect(after.window.outcomes).toMatchObject({ completed: 30, retry: 2 });
    expect(after.window.completedPerSecond).toBeCloseTo(30 / after.window.seconds, 1);
    expect(after.window.failedPerSecond).toBeCloseTo(2 / after.window.seconds, 1);
    expect(after.waitMs?.p99).toBeCloseTo(4, 1);
    expect(after.runMs?.p50).toBeGreaterThan(39);
    expect(Object.keys(after.lanes).sort()).toEqual(['high', 'normal']);
    expect(after.lanes.high).toMatchObject({ totals: { dead: 1 }, runMs: null });
    await fixture.stop(service);
  });

  it('knows live workers, slots and busy slots by heartbeat', async () => {
    const { service, analytics } = await fixture.start();
    const [a, b] = [fixture.worker('beating', 'a'), fixture.worker('beating', 'b')];
    a.beat();
    b.beat();
    await eventually('two workers', () => analytics.stats({ queue: 'beating' })[0]?.workers === 2);
    expect(await fixture.stats('beating')).toMatchObject({ workers: 2, slots: 8, busy: 6 });
    b.beat(true);
    await eventually('one says goodbye', () => analytics.stats({ queue: 'beating' })[0]?.workers === 1);
    await eventually('one is silent', () => analytics.stats({ queue: 'beating' })[0]?.workers === 0);
    await fixture.stop(service);
  });

  it('shows Prometheus the totals and the merged histograms', async () => {
    await fixture.worker('scraped', 'a').did('low', 'completed', 3, 3, 30).report();
    await fixture.worker('scraped', 'b').did('low', 'completed', 1, 3, 3000).report();
    const { service } = await fixture.start();
    const text = await (await fetch(`${service.url}/metrics`)).text();
    const lines = text.split('\n').filter((line) => line.includes('scraped'));
    expect(lines).toContain('jetlane_tasks_processed_total{queue="scraped",lane="low",outcome="completed"} 4');
    expect(lines).toContain('jetlane_task_run_seconds_bucket{queue="scraped",lane="low",le="0.025"} 0');
    expect(lines).toContain('jetlane_task_run_seconds_bucket{queue="scraped",lane="low",le="0.05"} 3');
    expect(lines).toContain('jetlane_task_run_seconds_bucket{queue="scraped",lane="low",le="+Inf"} 4');
    expect(lines).toContain('jetlane_task_wait_seconds_count{queue="scraped",lane="low"} 4');
    const sum = Number(lines.find((line) => line.startsWith('jetlane_task_run_seconds_sum'))?.split(' ')[1]);
    expect(sum).toBeGreaterThan(3.06);
    expect(sum).toBeLessThan(3.12);
    expect(lines).toContain('jetlane_worker_slots{queue="scraped"} 0');
    await fixture.stop(service);
  });

  it('answers zeros for a queue that nobody worked on, and refuses nonsense', async () => {
    const { service } = await fixture.start();
    expect(await fixture.stats('idle')).toMatchObject({ queue: 'idle', totals: { completed: 0 }, lanes: {}, workers: 0, waitMs: null });
    await expect(callService(fixture.connection, 'analytics', 'stats', { queue: 'NO' })).rejects.toMatchObject({
      code: 'invalid-argument',
    });
    await expect(callService(fixture.connection, 'analytics', 'stats', [1])).rejects.toMatchObject({ code: 'invalid-argument' });
    await fixture.stop(service);
  });

  it('passes over messages that are no snapshots', async () => {
    const { service } = await fixture.start();
    for (const body of ['', 'null', '[]', '{"worker":1}', '{"worker":"x","queue":"odd","startedAt":1,"lanes":{"normal":3}}', '\xff']) {
      await fixture.connection.publish(fixture.connection.names.metric('odd', 'x'), new TextEncoder().encode(body));
    }
    await fixture.worker('odd', 'good').did('normal', 'completed', 1, 1, 1).report();
    await eventually('the good one', async () => (await fixture.stats('odd')).totals.completed === 1);
    expect((await fetch(`${service.url}/health/ready`)).status).toBe(200);
    await fixture.stop(service);
  });
});

describe('totals of workers that are gone', () => {
  let fixture: AnalyticsFixture;
  beforeAll(async () => {
    fixture = await AnalyticsFixture.open('bases');
  });
  afterAll(() => fixture.close());

  const word = (queue: string, worker: string) =>
    leaderGet(fixture.connection, fixture.connection.names.metrics, fixture.connection.names.metric(queue, worker));

  it('are folded into one base by two services at once, without counting anything twice', async () => {
    for (let i = 0; i < 20; i++)
      await fixture
        .worker('folded', `gone-${i}`)
        .did('normal', 'completed', i + 1, 1, 10)
        .report();
    const living = fixture.worker('folded', 'living').did('normal', 'completed', 1000, 1, 10);
    await living.report();
    const beating = setInterval(() => living.beat(), 200);
    try {
      const one = await fixture.start({ foldAfterMs: 300, foldEveryMs: 100, silentMs: 500 });
      const two = await fixture.start({ foldAfterMs: 300, foldEveryMs: 100, silentMs: 500 });
      await eventually(
        'all are folded',
        async () => (await word('folded', 'gone-0')) === undefined && (await word('folded', 'gone-19')) === undefined,
      );
      expect(await word('folded', 'living')).toBeDefined();
      const third = await fixture.start();
      for (const { analytics } of [one, two, third]) {
        expect(analytics.stats({ queue: 'folded' })[0]?.totals.completed).toBe(1210);
      }
      expect(await (await fetch(`${third.service.url}/metrics`)).text()).toContain(
        'jetlane_task_run_seconds_count{queue="folded",lane="normal"} 1210',
      );
      await living.did('normal', 'completed', 1, 1, 10).report();
      for (const { analytics } of [one, two, third]) {
        await eventually('the living one counts on', () => analytics.stats({ queue: 'folded' })[0]?.totals.completed === 1211);
      }
    } finally {
      clearInterval(beating);
    }
  });

  it('stay right when the worker was not gone', async () => {
    const sleeper = fixture.worker('sleepy', 'sleeper').did('normal', 'completed', 7, 1, 10);
    await sleeper.report();
    const { analytics } = await fixture.start({ foldAfterMs: 100, foldEveryMs: 50, silentMs: 100 });
    await eventually('it is folded', async () => (await word('sleepy', 'sleeper')) === undefined);
    await sleeper.did('normal', 'completed', 3, 1, 10).report();
    await eventually('ten', () => analytics.stats({ queue: 'sleepy' })[0]?.totals.completed === 10);
    await eventually('it is folded again', async () => (await word('sleepy', 'sleeper')) === undefined);
    const fresh = await fixture.start();
    expect(fresh.analytics.stats({ queue: 'sleepy' })).toMatchObject([{ totals: { completed: 10 } }]);
  });

  it('survive a restart of the server, and figures go on', async () => {
    const { analytics, service } = await fixture.start();
    const worker = fixture.worker('restarted', 'w').did('normal', 'completed', 2, 1, 10);
    await worker.report();
    await eventually('two', () => analytics.stats({ queue: 'restarted' })[0]?.totals.completed === 2);
    fixture.server.kill('SIGKILL');
    await fixture.server.exited;
    await eventually('not ready without a broker', async () => (await fetch(`${service.url}/health/ready`)).status === 503);
    expect((await fetch(`${service.url}/health/live`)).status).toBe(200);
    await fixture.server.start();
    await worker.did('normal', 'completed', 5, 1, 10).report();
    await eventually('seven', () => analytics.stats({ queue: 'restarted' })[0]?.totals.completed === 7);
    await eventually('ready again', async () => (await fetch(`${service.url}/health/ready`)).status === 200);
  });
});
