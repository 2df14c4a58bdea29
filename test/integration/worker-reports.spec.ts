import { directGet } from '@jetlane/jetstream';
import { FatalError, type Heartbeat, type MetricsSnapshot } from '@jetlane/protocol';
import { Histogram } from '@jetlane/telemetry';
import { Cancelled, Worker } from '@jetlane/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from './services-fixture.js';
import { deferred, WorkerSite } from './worker-fixture.js';

let site: WorkerSite;
beforeAll(async () => {
  site = await WorkerSite.open('worker');
  await site.schedule();
});
afterAll(() => site.close());

describe('what a worker tells', () => {
  it('events; a listener that throws, now or later, hurts nobody', async () => {
    const queue = site.queueName();
    const logged: string[] = [];
    const log = { info: () => undefined, warn: () => undefined, error: (_: object, event: string) => void logged.push(event) };
    const worker = await site.worker({
      queue,
      log,
      handlers: {
        ok: () => 5,
        bad: () => {
          throw new Error('x');
        },
      },
      definition: { retry: { attempts: 2, initialDelay: 1 } },
    });
    const events: string[] = [];
    worker.on('task:started', () => {
      throw new Error('now');
    });
    worker.on('task:completed', (async () => {
      throw Object.create(null);
    }) as () => void);
    for (const event of ['task:started', 'task:completed', 'task:failed', 'task:dead'] as const)
      worker.on(event, ({ id, attempt }) => events.push(`${event.slice(5)} ${id.split('.')[1]} ${attempt}`));
    await site.task(queue, 'a', 'ok');
    await site.reaches(queue, 'a', 'completed');
    await site.task(queue, 'b', 'bad');
    await site.buried(queue, 'b');
    await eventually('the last event is told', () => events.length === 6);
    expect(events).toEqual(['started a 1', 'completed a 1', 'started b 1', 'failed b 1', 'started b 2', 'dead b 2']);
    // Each start, and the one completion.
    expect(logged.filter((event) => event === 'listener:failed')).toHaveLength(4);
  });
});

describe('reports', () => {
  it('heartbeats once a second and when asked, with what runs; the last one says that it stops', async () => {
    const queue = site.queueName();
    const beats: Heartbeat[] = [];
    const gate = deferred();
    const worker = new Worker(site.connection, {
      queue,
      name: 'w-1',
      version: '1.2.3',
      concurrency: 3,
      handlers: { t: () => gate.promise, u: () => 1 },
    });
    const unsubscribe = site.connection.subscribe(site.connection.names.heartbeat(queue, 'w-1'), ({ data }) =>
      beats.push(JSON.parse(Buffer.from(data).toString()) as Heartbeat),
    );
    await worker.start();
    await site.task(queue, 'k', 't', 1, 'low');
    await eventually('the run shows', () => beats.some(({ busy }) => busy === 1));
    const before = beats.length;
    site.connection.send(site.connection.names.heartbeatPing());
    await eventually('asked and answered', () => beats.length > before, 500);
    const beat = beats.at(-1)!;
    expect(beat).toMatchObject({ worker: 'w-1', queue, pid: process.pid, version: '1.2.3', slots: 3, busy: 1, types: ['t', 'u'] });
    expect(beat.running).toMatchObject([{ key: 'k', lane: 'low', hop: 1, attempt: 1 }]);
    expect(Math.abs(beat.running[0]!.startedAt - Date.now())).toBeLessThan(10_000);
    gate.resolve();
    await worker.stop();
    await eventually('the last beat', () => beats.at(-1)?.stopping === true);
    expect(beats.at(-1)).toMatchObject({ busy: 0, running: [] });
    unsubscribe();
  });

  it('metrics: counts and histograms since the start, per lane, as one message per worker', async () => {
    const queue = site.queueName();
    const handlers = {
      ok: () => new Promise((resolve) => setTimeout(resolve, 30)),
      fatal: () => {
        throw new FatalError('x');
      },
      off: () => {
        throw new Cancelled();
      },
    };
    const worker = await site.worker({ queue, name: 'w-2', concurrency: 7, handlers });
    await Promise.all([1, 2, 3].map((i) => site.task(queue, `h${i}`, 'ok', i, 'high')));
    await Promise.all([site.task(queue, 'f', 'fatal', 1, 'low'), site.task(queue, 'o', 'off', 1, 'low')]);
    await site.drained(queue);
    await worker.stop();
    const { names } = site.connection;
    const stored = await directGet(site.connection, names.metrics, names.metric(queue, 'w-2'));
    const snapshot = JSON.parse(Buffer.from(stored!.data).toString()) as MetricsSnapshot;
    expect(snapshot).toMatchObject({
      worker: 'w-2',
      queue,
      slots: 7,
      busy: 0,
      lanes: { high: { counts: { completed: 3 } }, low: { counts: { dead: 1, cancelled: 1 } } },
    });
    const run = Histogram.decode(snapshot.lanes.high!.run!);
    expect(run.count).toBe(3);
    expect(run.percentile(50)).toBeGreaterThan(25_000);
    expect(Histogram.decode(snapshot.lanes.high!.wait!).count).toBe(3);
    expect(snapshot.lanes.normal).toBeUndefined();
  });
});
