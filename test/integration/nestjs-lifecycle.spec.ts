import { getQueueToken, Jetlane, JetlaneModule, type Queue, TaskHandler, TaskQueue, TaskWorkers } from '@jetlane/nestjs';
import {
  type BeforeApplicationShutdown,
  Inject,
  Injectable,
  Module,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type OnModuleDestroy,
} from '@nestjs/common';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rejection } from '../support/wait-until.js';
import { eventually, NestSite } from './nestjs-fixture.js';
import { deferred } from './worker-fixture.js';

let site: NestSite;
beforeAll(async () => {
  site = await NestSite.open('nestjs-lifecycle');
});
afterAll(() => site.close());

describe('tasks', () => {
  it('come only when every onApplicationBootstrap has returned, that of the root module too', async () => {
    const queue = await (await site.app({ imports: [JetlaneModule.registerQueue({ name: 'early' })] }, { role: 'producer' })).get<Queue>(
      getQueueToken('early'),
    );
    const receipt = await queue.enqueue('t');
    const log: string[] = [];
    const open = deferred();
    @TaskQueue('early')
    class Handlers {
      @TaskHandler('t')
      run() {
        log.push('task');
      }
    }
    @Module({ imports: [JetlaneModule.registerQueue({ name: 'early' })], providers: [Handlers] })
    class RootModule implements OnApplicationBootstrap {
      async onApplicationBootstrap() {
        log.push('bootstrap begins');
        await open.promise;
        log.push('bootstrap ends');
      }
    }
    const starting = site.app({ imports: [RootModule] });
    await eventually('the hook runs', () => log.length > 0);
    // Long enough for a worker that did not wait: a task is fetched and run within milliseconds.
    expect(await rejection(queue.result(receipt, { timeout: 300 }))).toMatchObject({ code: 'request-timeout' });
    open.resolve();
    await starting;
    await queue.result(receipt);
    expect(log).toEqual(['bootstrap begins', 'bootstrap ends', 'task']);
  });

  it('stop before anything else is told to, and the connection closes after everything else', async () => {
    const log: string[] = [];
    const started = deferred();
    const finish = deferred();
    @Injectable()
    class Database implements OnModuleDestroy, BeforeApplicationShutdown, OnApplicationShutdown {
      constructor(
        @Inject(Jetlane) private readonly jetlane: Jetlane,
        @Inject(TaskWorkers) private readonly workers: TaskWorkers,
      ) {}

      onModuleDestroy() {
        finish.resolve();
      }

      beforeApplicationShutdown() {
        log.push(`workers ${this.workers.worker('ending')!.health().state} when others stop`);
      }

      async onApplicationShutdown() {
        const { state } = await (await this.jetlane.queue('ending')).enqueue('last-words');
        log.push(`${state} when others close`);
      }
    }
    @TaskQueue('ending')
    class Handlers {
      @TaskHandler('slow')
      async slow() {
        started.resolve();
        await finish.promise;
        log.push('task finished');
      }
    }
    const app = await site.app(
      { imports: [JetlaneModule.registerQueue({ name: 'ending' })], providers: [Handlers, Database] },
      { shutdownTimeout: '10s' },
    );
    await app.get<Queue>(getQueueToken('ending')).enqueue('slow');
    await started.promise;
    await site.stop(app);
    expect(log).toEqual(['task finished', 'workers idle when others stop', 'queued when others close']);
    expect(app.get(Jetlane).connection.state).toBe('closed');
    expect(await rejection(app.get(TaskWorkers).start())).toMatchObject({ code: 'connection-closed' });
  });

  it('that run past the deadline are handed back, and another process runs them', async () => {
    const started = deferred();
    let runs = 0;
    @TaskQueue('handed-back')
    class Handlers {
      @TaskHandler('t')
      async run() {
        if (++runs > 1) return 'second process';
        started.resolve();
        return new Promise<string>(() => undefined);
      }
    }
    const parts = { imports: [JetlaneModule.registerQueue({ name: 'handed-back' })], providers: [Handlers] };
    const first = await site.app(parts);
    const receipt = await first.get<Queue>(getQueueToken('handed-back')).enqueue('t');
    await started.promise;
    await first.close();
    const second = await site.app(parts);
    const done = await second.get<Queue>(getQueueToken('handed-back')).result(receipt);
    expect(done).toMatchObject({ state: 'completed', result: 'second process' });
  });
});

describe('workers', () => {
  it('survive start and stop in any order, and lose nothing', async () => {
    const ran = new Map<string, number>();
    @TaskQueue('stress', { concurrency: 4 })
    class Handlers {
      @TaskHandler('t')
      async run(name: string) {
        await Promise.resolve();
        ran.set(name, (ran.get(name) ?? 0) + 1);
      }
    }
    const app = await site.app({ imports: [JetlaneModule.registerQueue({ name: 'stress' })], providers: [Handlers] });
    const queue = app.get<Queue>(getQueueToken('stress'));
    const workers = app.get(TaskWorkers);
    const names = Array.from({ length: 200 }, (_, i) => `task ${i}`);
    const enqueued = queue.enqueueMany(names.map((data) => ({ type: 't', data })));
    const calls: Promise<void>[] = [];
    for (let round = 0; round < 12; round++) {
      calls.push(workers.start(), workers.stop('5s'));
      if (round % 3 === 0) calls.push(workers.start(), workers.start());
      if (round % 4 === 0) calls.push(workers.stop('5s'), workers.stop('5s'));
      if (round % 2 === 0) await calls.at(-1);
    }
    await Promise.all(calls);
    expect(workers.worker('stress')!.health().state).toBe('idle');
    await enqueued;
    await Promise.all([workers.start(), workers.start()]);
    await eventually('all have run', () => ran.size === names.length);
    await eventually('the queue is empty', async () => (await queue.stats()).depth === 0);
    // Stops were in good order, so nothing ran twice.
    expect([...ran.values()].filter((times) => times !== 1)).toEqual([]);
  });

  it('that cannot all start leave none running', async () => {
    @TaskQueue('good-one')
    class Good {
      @TaskHandler('t')
      run() {}
    }
    @TaskQueue('bad-one', { concurrency: 0 })
    class Bad {
      @TaskHandler('t')
      run() {}
    }
    const app = await site.app(
      { imports: [JetlaneModule.registerQueue({ name: 'good-one' }, { name: 'bad-one' })], providers: [Good, Bad] },
      { role: 'producer' },
    );
    expect(await rejection(app.get(TaskWorkers).start())).toMatchObject({ code: 'invalid-configuration' });
    expect(app.get(TaskWorkers).worker('good-one')!.health().state).toBe('idle');
  });

  it('start and stop with the application, many times over, and leave no connection behind', async () => {
    @TaskQueue('again')
    class Handlers {
      @TaskHandler('t')
      run() {
        return 'ok';
      }
    }
    for (let round = 0; round < 5; round++) {
      const app = await site.app({ imports: [JetlaneModule.registerQueue({ name: 'again' })], providers: [Handlers] });
      const queue = app.get<Queue>(getQueueToken('again'));
      expect((await queue.result(await queue.enqueue('t'))).result).toBe('ok');
      await Promise.all([app.close(), app.close()]);
      expect(app.get(Jetlane).connection.state).toBe('closed');
    }
  });
});
