import { getQueueToken, JetlaneModule, type Queue, TaskHandler, TaskQueue, TaskWorkers } from '@jetlane/nestjs';
import { JetlaneHealthIndicator, JetlaneHealthModule } from '@jetlane/nestjs/health';
import { HealthCheckService } from '@nestjs/terminus';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, NestSite } from './nestjs-fixture.js';

let site: NestSite;
beforeAll(async () => {
  site = await NestSite.open('nestjs-health');
});
afterAll(() => site.close());

@TaskQueue('watched')
class Handlers {
  @TaskHandler('t')
  run() {}
}

const parts = { imports: [JetlaneModule.registerQueue({ name: 'watched' }), JetlaneHealthModule.forConnection()], providers: [Handlers] };

describe('health indicators', () => {
  it('are up where all is well, inside a Terminus check', async () => {
    const app = await site.app(parts);
    const health = app.get(JetlaneHealthIndicator);
    const checked = await app
      .get(HealthCheckService)
      .check([
        () => health.connection(),
        () => health.streams(),
        () => health.progress(),
        () => health.backlogAge({ queue: 'watched', maxAge: '1h' }),
      ]);
    expect(checked.status).toBe('ok');
    expect(checked.details).toMatchObject({
      nats: { status: 'up', reconnects: 0 },
      streams: { status: 'up', queues: 1 },
      progress: { status: 'up', queues: 1 },
      backlog: { status: 'up', queue: 'watched', depth: 0, limitMs: 3_600_000 },
    });
    await app.close();
  });

  it('are down for workers that do not run, unless the process is a producer', async () => {
    const app = await site.app(parts);
    await app.get(TaskWorkers).stop(0);
    expect(await app.get(JetlaneHealthIndicator).progress()).toEqual({
      progress: { status: 'down', problems: ['watched: the worker is idle'] },
    });
    await app.close();
    const producer = await site.app(parts, { role: 'producer' });
    expect(await producer.get(JetlaneHealthIndicator).progress()).toEqual({ progress: { status: 'up', role: 'producer' } });
    await producer.close();
  });

  it('are degraded when the oldest task has waited longer than it may', async () => {
    const app = await site.app({ ...parts, imports: [JetlaneModule.registerQueue({ name: 'old' }), ...parts.imports] });
    const health = app.get(JetlaneHealthIndicator);
    await app.get<Queue>(getQueueToken('old')).enqueue('t', undefined, { lane: 'low' });
    const status = async (lanes: readonly ['low'] | readonly ['high']) =>
      (await health.backlogAge({ queue: 'old', maxAge: 50, lanes }, 'old')).old!.status;
    await eventually('the backlog is too old', async () => (await status(['low'])) === 'degraded');
    expect(await status(['high'])).toBe('up');
    await app.close();
  });

  it('are degraded while due tasks wait and nobody moves them', async () => {
    const app = await site.app(
      { ...parts, imports: [JetlaneModule.registerQueue({ name: 'late' }), ...parts.imports] },
      { scheduler: false },
    );
    const health = app.get(JetlaneHealthIndicator);
    expect(await health.timers(50)).toEqual({ timers: { status: 'up', lateMs: 0, limitMs: 50 } });
    await app.get<Queue>(getQueueToken('late')).enqueue('t', undefined, { delay: 1 });
    const status = async () => (await health.timers(50)).timers!.status;
    await eventually('the due task is late', async () => (await status()) === 'degraded');
    const other = await site.app(parts);
    await eventually('another process has moved it', async () => (await status()) === 'up');
    await Promise.all([app.close(), other.close()]);
  });

  it('name a lane whose stream is gone', async () => {
    const app = await site.app({ ...parts, imports: [JetlaneModule.registerQueue({ name: 'gone' }), ...parts.imports] });
    const { streams } = await site.connection.admin();
    await streams.delete(site.connection.names.lane('gone', 'high').stream);
    expect(await app.get(JetlaneHealthIndicator).streams()).toEqual({ streams: { status: 'down', missing: ['gone.high'] } });
    await app.close();
  });

  it('are down, and answer at all, while the server is away', async () => {
    const app = await site.app(parts);
    const health = app.get(JetlaneHealthIndicator);
    site.installation.server.kill('SIGKILL');
    await site.installation.server.exited;
    await eventually('the loss is seen', () => health.connection().nats!.status === 'down');
    const results = await Promise.all([health.streams(), health.progress(), health.backlogAge({ queue: 'watched', maxAge: '1h' })]);
    expect(results.map((result) => Object.values(result)[0]!.status)).toEqual(['down', 'down', 'down']);
    await site.installation.server.start();
    await eventually('all is well again', async () => (await health.progress()).progress!.status === 'up');
    expect(health.connection()).toMatchObject({ nats: { status: 'up', reconnects: 1 } });
  });
});
