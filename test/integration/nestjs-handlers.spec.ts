import {
  currentTask,
  getQueueToken,
  InjectQueue,
  Jetlane,
  JetlaneModule,
  OnTask,
  type Queue,
  TaskContext,
  TaskData,
  type TaskEventOf,
  TaskHandler,
  TaskQueue,
  TaskSignal,
  TaskWorkers,
} from '@jetlane/nestjs';
import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { of } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { eventually, NestSite, ONCE, QUICK } from './nestjs-fixture.js';

let site: NestSite;
beforeAll(async () => {
  site = await NestSite.open('nestjs-handlers');
  await site.schedule();
});
afterAll(() => site.close());

@Injectable()
class Settings {
  readonly queue = 'from-settings';
  readonly slots = 3;
}

describe('a handler', () => {
  it('gets payload and context, and what it returns is the result', async () => {
    @TaskQueue('plain')
    class Handlers {
      @TaskHandler('sum')
      sum({ a, b }: { a: number; b: number }, context: TaskContext) {
        return { sum: a + b, id: context.id, attempt: context.attempt };
      }

      @TaskHandler('later')
      async later(text: string) {
        return text.toUpperCase();
      }

      @TaskHandler('stream')
      stream(text: string) {
        return of(1, 2, text);
      }

      @TaskHandler('one')
      @TaskHandler('two')
      both(_: unknown, { type }: TaskContext) {
        return type;
      }
    }
    const app = await site.app({ imports: [JetlaneModule.registerQueue({ name: 'plain' })], providers: [Handlers] });
    const queue = app.get<Queue>(getQueueToken('plain'));
    const sum = await queue.result(await queue.enqueue('sum', { a: 2, b: 3 }, { key: 'k' }));
    expect(sum).toMatchObject({ state: 'completed', result: { sum: 5, id: 'plain.k', attempt: 1 } });
    expect((await queue.result(await queue.enqueue('later', 'ü'))).result).toBe('Ü');
    expect((await queue.result(await queue.enqueue('stream', 'last'))).result).toBe('last');
    expect((await queue.result(await queue.enqueue('one'))).result).toBe('one');
    expect((await queue.result(await queue.enqueue('two'))).result).toBe('two');
  });

  it('gets what its parameter decorators ask for, in any order', async () => {
    const schema = z.object({ to: z.email(), copies: z.number().default(1) });
    @TaskQueue('params', { concurrency: 2 })
    class Handlers {
      @TaskHandler('all')
      all(
        @TaskContext() context: TaskContext,
        @TaskSignal() signal: AbortSignal,
        @TaskData('to') to: string,
        @TaskData(schema) data: unknown,
      ) {
        return { key: context.key, aborted: signal.aborted, same: signal === context.signal, to, data };
      }
    }
    const app = await site.app({ imports: [JetlaneModule.registerQueue({ name: 'params', retry: QUICK })], providers: [Handlers] });
    const queue = app.get<Queue>(getQueueToken('params'));
    const done = await queue.result(await queue.enqueue('all', { to: 'ada@example.org' }, { key: 'k' }));
    const data = { to: 'ada@example.org', copies: 1 };
    expect(done.result).toEqual({ key: 'k', aborted: false, same: true, to: 'ada@example.org', data });
    const dead = await queue.result(await queue.enqueue('all', { to: 'nobody', copies: 'x' }));
    expect(dead).toMatchObject({ state: 'dead', reason: 'payload-mismatch', attempt: 1 });
    expect(dead.error?.message).toMatch(/to: Invalid email.*copies: /);
  });

  it('whose parameters fail one at once and one later is dead, and nothing else happens', async () => {
    @TaskQueue('two-ways')
    class Handlers {
      @TaskHandler('t')
      run(
        @TaskData(
          'a',
          z.string().refine(async () => false),
        )
        _a: string,
        @TaskData('b', z.string()) _b: string,
      ) {}
    }
    const app = await site.app({ imports: [JetlaneModule.registerQueue({ name: 'two-ways' })], providers: [Handlers] });
    const queue = app.get<Queue>(getQueueToken('two-ways'));
    // The promise of `a` is rejected when nobody waits for it any more; unhandled, it would end the process.
    expect(await queue.result(await queue.enqueue('t', { a: 'x', b: 1 }))).toMatchObject({ state: 'dead', reason: 'payload-mismatch' });
  });

  it('may have a retry policy and a timeout of its own, and options from the container', async () => {
    let runs = 0;
    @TaskQueue({
      inject: [Settings, { token: 'nobody gives this', optional: true }],
      useFactory: ({ queue, slots }: Settings, none?: number) => ({ queue, concurrency: none ?? slots }),
    })
    class Handlers {
      @TaskHandler('fails', { inject: [Settings], useFactory: ({ slots }: Settings) => ({ retry: { ...QUICK, attempts: slots } }) })
      fails() {
        runs++;
        throw new Error('no');
      }

      @TaskHandler('chooses', { retry: { ...QUICK, backoff: () => 1, retryable: (error) => !(error instanceof TypeError) } })
      chooses(_: unknown, { attempt }: TaskContext) {
        throw attempt === 1 ? new Error('again') : new TypeError('never');
      }

      @TaskHandler('hangs', { retry: ONCE, timeout: '50ms' })
      async hangs(@TaskSignal() signal: AbortSignal) {
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      }
    }
    const app = await site.app({
      imports: [JetlaneModule.registerQueue({ name: 'from-settings' })],
      providers: [Handlers, Settings],
    });
    const queue = app.get<Queue>(getQueueToken('from-settings'));
    expect(app.get(TaskWorkers).worker('from-settings')?.health().slots).toBe(3);
    expect(await queue.result(await queue.enqueue('hangs'))).toMatchObject({ state: 'dead', error: { code: 'timeout' } });
    expect(await queue.result(await queue.enqueue('fails'))).toMatchObject({ state: 'dead', attempt: 3 });
    expect(runs).toBe(3);
    expect(await queue.result(await queue.enqueue('chooses'))).toMatchObject({ state: 'dead', reason: 'fatal', attempt: 2 });
  });

  it('is one of several classes of a queue, in several queues of a class', async () => {
    @TaskQueue('north', { concurrency: 4 })
    @TaskQueue('south')
    class Both {
      @TaskHandler('where')
      where(_: unknown, { queue }: TaskContext) {
        return queue;
      }
    }
    @TaskQueue('north')
    class North {
      @TaskHandler('only')
      only() {
        return 'north only';
      }
    }
    const app = await site.app({
      imports: [JetlaneModule.registerQueue({ name: 'north', retry: ONCE }, { name: 'south', retry: ONCE })],
      providers: [Both, North],
    });
    const [north, south] = ['north', 'south'].map((name) => app.get<Queue>(getQueueToken(name))) as [Queue, Queue];
    expect((await north.result(await north.enqueue('where'))).result).toBe('north');
    expect((await south.result(await south.enqueue('where'))).result).toBe('south');
    expect((await north.result(await north.enqueue('only'))).result).toBe('north only');
    expect(await south.result(await south.enqueue('only'))).toMatchObject({ state: 'dead', reason: 'no-handler' });
    expect(app.get(TaskWorkers).worker('north')?.health().slots).toBe(4);
  });

  it('uses what is injected, enqueues further tasks, and is known to all that it calls', async () => {
    @Injectable()
    class Audit {
      readonly seen: (string | undefined)[] = [];

      async note() {
        await Promise.resolve();
        this.seen.push(currentTask()?.id);
      }
    }
    @TaskQueue('chain')
    class Handlers {
      constructor(
        @InjectQueue('chain') private readonly queue: Queue,
        @Inject(Audit) private readonly audit: Audit,
      ) {}

      @TaskHandler('first')
      async first() {
        await this.audit.note();
        return (await this.queue.enqueue('second', undefined, { key: 'b' })).id;
      }

      @TaskHandler('second')
      second() {
        return this.audit.note();
      }
    }
    const app = await site.app({ imports: [JetlaneModule.registerQueue({ name: 'chain' })], providers: [Handlers, Audit] });
    const queue = app.get<Queue>(getQueueToken('chain'));
    const first = await queue.result(await queue.enqueue('first', undefined, { key: 'a' }));
    expect(await queue.result(first.result as string)).toMatchObject({ state: 'completed', id: 'chain.b' });
    expect(app.get(Audit).seen).toEqual(['chain.a', 'chain.b']);
    expect(currentTask()).toBeUndefined();
  });

  it('is found on instances that factories and values give, once each', async () => {
    @TaskQueue('made')
    class Made {
      constructor(readonly by: string) {}

      @TaskHandler('by')
      say() {
        return this.by;
      }
    }
    const app = await site.app({
      imports: [JetlaneModule.registerQueue({ name: 'made' })],
      providers: [
        { provide: 'made', useFactory: () => new Made('a factory') },
        { provide: 'again', inject: ['made'], useFactory: (made: Made) => made },
        { provide: Made, useExisting: 'made' },
      ],
    });
    const queue = app.get<Queue>(getQueueToken('made'));
    expect((await queue.result(await queue.enqueue('by'))).result).toBe('a factory');
  });

  it('may be registered at run time, for a queue that is opened at run time', async () => {
    @Injectable()
    class Tenants implements OnModuleInit {
      constructor(
        @Inject(Jetlane) private readonly jetlane: Jetlane,
        @Inject(TaskWorkers) private readonly workers: TaskWorkers,
      ) {}

      async onModuleInit() {
        for (const tenant of ['acme', 'globex']) {
          await this.jetlane.queue(`tenant-${tenant}`);
          this.workers.register({ queue: `tenant-${tenant}`, type: 'hello', handle: () => `hello ${tenant}` });
        }
      }
    }
    const app = await site.app({ providers: [Tenants] });
    const queue = await app.get(Jetlane).queue('tenant-globex');
    expect((await queue.result(await queue.enqueue('hello'))).result).toBe('hello globex');
    expect(app.get(TaskWorkers).queueNames().sort()).toEqual(['tenant-acme', 'tenant-globex']);
    const late = () => app.get(TaskWorkers).register({ queue: 'tenant-acme', type: 'late', handle: () => 1 });
    expect(late).toThrow(/comes too late/);
  });
});

describe('a listener', () => {
  it('hears what happens to tasks of its queue; what it throws changes nothing', async () => {
    const heard: string[] = [];
    @TaskQueue('heard')
    class Handlers {
      @TaskHandler('good')
      good() {
        return 42;
      }

      @TaskHandler('bad', { retry: { ...QUICK, attempts: 2 } })
      bad() {
        throw new Error('no');
      }

      @OnTask('completed')
      completed({ type, result }: TaskEventOf<'completed'>) {
        heard.push(`completed ${type} ${JSON.stringify(result)}`);
        throw new Error('a listener that throws');
      }

      @OnTask('failed')
      @OnTask('dead', { type: 'bad' })
      async failed({ id, error }: TaskEventOf<'failed' | 'dead'>) {
        heard.push(`${id.split('.')[0]} ${error.message}`);
        throw new Error('a listener that rejects');
      }

      @OnTask('started', { type: 'good' })
      started({ type }: TaskEventOf<'started'>) {
        heard.push(`started ${type}`);
      }
    }
    const app = await site.app({ imports: [JetlaneModule.registerQueue({ name: 'heard' })], providers: [Handlers] });
    const queue = app.get<Queue>(getQueueToken('heard'));
    expect((await queue.result(await queue.enqueue('good'))).state).toBe('completed');
    expect((await queue.result(await queue.enqueue('bad'))).state).toBe('dead');
    await eventually('four events are heard', () => heard.length >= 4);
    expect(heard).toEqual(['started good', 'completed good 42', 'heard no', 'heard no']);
  });
});

describe('a role', () => {
  it.each([
    ['producer', 'idle'],
    ['worker', 'running'],
    ['all', 'running'],
  ] as const)('%s leaves workers %s', async (role, state) => {
    @TaskQueue('role')
    class Handlers {
      @TaskHandler('t')
      run() {}
    }
    const app = await site.app({ imports: [JetlaneModule.registerQueue({ name: 'role' })], providers: [Handlers] }, { role });
    expect(app.get(TaskWorkers).worker('role')?.health().state).toBe(state);
    await app.close();
  });
});
