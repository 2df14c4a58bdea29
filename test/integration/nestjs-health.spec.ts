import { openQueueBucket } from '@jetlane/jetstream';
import { getQueueToken, JetlaneModule, type Queue, TaskHandler, TaskQueue, TaskWorkers } from '@jetlane/nestjs';
import { getHealthToken, JetlaneHealthIndicator, JetlaneHealthModule } from '@jetlane/nestjs/health';
import type { INestApplicationContext } from '@nestjs/common';
import { HealthCheckService } from '@nestjs/terminus';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loseRequests } from '../support/lost-pulls.js';
import { holdsFor } from '../support/wait-until.js';
import { eventually, NestSite } from './nestjs-fixture.js';
import { deferred } from './worker-fixture.js';

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

  it.each([undefined, 'billing'])('are there for a connection that is not global, named %s', async (name) => {
    const root = JetlaneModule.forRoot({ ...site.options, ...(name && { name }), global: false });
    const health = JetlaneHealthModule.forConnection({ ...(name && { connection: name }), imports: [root] });
    const app = await site.start({ imports: [root, health] });
    expect(app.get<JetlaneHealthIndicator>(getHealthToken(name)).connection()).toEqual({ nats: { status: 'up', reconnects: 0 } });
    await app.close();
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

  describe.concurrent('of progress', () => {
    const progressOf = async (app: INestApplicationContext) => (await app.get(JetlaneHealthIndicator).progress()).progress!;

    it('stay up where the limits of a queue keep tasks waiting beside free slots', async () => {
      const gate = deferred();
      @TaskQueue('limited')
      class Limited {
        @TaskHandler('t')
        run() {
          return gate.promise;
        }
      }
      const queue = JetlaneModule.registerQueue({ name: 'limited', limits: { concurrency: 1 } });
      const limited = { imports: [queue, JetlaneHealthModule.forConnection()], providers: [Limited] };
      const apps = [await site.app(limited), await site.app(limited)];
      await apps[0]!.get<Queue>(getQueueToken('limited')).enqueueMany(Array.from({ length: 200 }, () => ({ type: 't' })));
      const busy = () => apps.map((app) => app.get(TaskWorkers).worker('limited')!.health().busy);
      await eventually('one runs', () => busy().includes(1));
      await holdsFor('both are up', 7000, async () => (await Promise.all(apps.map(progressOf))).every(({ status }) => status === 'up'));
      expect(busy().sort()).toEqual([0, 1]);
      gate.resolve();
    });

    it('name the lane and the reason where a running worker gets nothing', async () => {
      const link = await site.installation.link();
      await site.installation.queue({ name: 'silent' });
      const { heal } = loseRequests(link, 'silent', site.connection);
      @TaskQueue('silent')
      class Silent {
        @TaskHandler('t')
        run() {}
      }
      const imports = [JetlaneModule.registerQueue({ name: 'silent' }), JetlaneHealthModule.forConnection()];
      const app = await site.app({ imports, providers: [Silent] }, { connection: link });
      await app.get<Queue>(getQueueToken('silent')).enqueue('t');
      expect(await progressOf(app)).toMatchObject({ status: 'up' });
      await eventually('it is down', async () => (await progressOf(app)).status === 'down');
      expect(await progressOf(app)).toMatchObject({
        problems: [expect.stringMatching(/^silent: normal: 1 tasks wait, pulls are open, and nothing has been delivered for \d+ s/)],
      });
      heal();
      await eventually('it is up again', async () => (await progressOf(app)).status === 'up');
    });

    it('name the lane and the reason where pulls are refused and the lane may not be made again', async () => {
      @TaskQueue('removed')
      class Removed {
        @TaskHandler('t')
        run() {}
      }
      const imports = [JetlaneModule.registerQueue({ name: 'removed' }), JetlaneHealthModule.forConnection()];
      const app = await site.app({ imports, providers: [Removed] });
      await eventually('it is up', async () => (await progressOf(app)).status === 'up');
      // Nobody makes lanes of a queue that is defined no more.
      const definitions = await openQueueBucket(site.connection);
      await definitions.remove('removed', (await definitions.get('removed'))!.revision);
      const { stream, consumer } = site.connection.names.lane('removed', 'low');
      await (await site.connection.admin()).consumers.delete(stream, consumer);
      await eventually('it is down', async () => (await progressOf(app)).status === 'down');
      expect(await progressOf(app)).toMatchObject({ problems: [expect.stringMatching(/^removed: low: pulls are refused: (409|503)/)] });
    });
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
