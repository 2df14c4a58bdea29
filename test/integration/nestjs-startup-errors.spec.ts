import {
  BatchHandler,
  getQueueToken,
  InjectQueue,
  JetlaneModule,
  type JetlaneOptions,
  type JetlaneOptionsFactory,
  OnTask,
  Queue,
  TaskHandler,
  TaskQueue,
} from '@jetlane/nestjs';
import { Controller, Injectable, Module, Scope, type Type } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rejection } from '../support/wait-until.js';
import { NestSite } from './nestjs-fixture.js';

let site: NestSite;
beforeAll(async () => {
  site = await NestSite.open('nestjs-errors');
});
afterAll(() => site.close());

describe('a start-up error', () => {
  @TaskQueue('dup')
  class One {
    @TaskHandler('t')
    run() {}
  }

  it('names both handlers of one type', async () => {
    @TaskQueue('dup')
    class Two {
      @TaskHandler('t')
      go() {}
    }
    @Module({ providers: [Two] })
    class TwoModule {}
    const error = await rejection(site.app({ imports: [JetlaneModule.registerQueue({ name: 'dup' }), TwoModule], providers: [One] }));
    expect(error).toMatchObject({ code: 'duplicate-handler', details: { queue: 'dup', type: 't' } });
    expect(error.message).toContain('One.run of');
    expect(error.message).toContain('Two.go of TwoModule');
  });

  it('names a queue that nobody registered, and what was probably meant', async () => {
    const error = await rejection(site.app({ imports: [JetlaneModule.registerQueue({ name: 'dub' })], providers: [One] }));
    expect(error).toMatchObject({ code: 'unknown-queue' });
    expect(error.message).toMatch(/One of .* "dup".*did you mean "dub"\?/);
    expect((await rejection(site.app({ providers: [One] }))).message).toContain('JetlaneModule.registerQueue({ name: "dup" })');
  });

  it('names both classes that want different things of one worker', async () => {
    @TaskQueue('dup', { concurrency: 1 })
    class Slow {}
    @TaskQueue('dup', { concurrency: 9 })
    class Fast {}
    const error = await rejection(site.app({ imports: [JetlaneModule.registerQueue({ name: 'dup' })], providers: [Slow, Fast] }));
    expect(error.message).toMatch(/concurrency 1 from Slow of .* and 9 from Fast of /);
  });

  it.each([
    [{ retry: { attempts: 0 } }, 'retry.attempts'],
    [{ timeout: 'soon' }, 'timeout'],
  ])('names the handler whose options %o cannot work', async (options, field) => {
    @TaskQueue('dup')
    class Wrong {
      @TaskHandler('t', options)
      run() {}
    }
    const error = await rejection(site.app({ imports: [JetlaneModule.registerQueue({ name: 'dup' })], providers: [Wrong] }));
    expect(error).toMatchObject({ code: 'invalid-configuration' });
    expect(error.message).toMatch(new RegExp(`Wrong\\.run of .*${field}`));
  });

  it('refuses listeners without an instance, controllers, and factories that give no queue', async () => {
    @Injectable({ scope: Scope.REQUEST })
    @TaskQueue('dup')
    class Fleeting {
      @OnTask('dead')
      heard() {}
    }
    const error = await rejection(site.app({ imports: [JetlaneModule.registerQueue({ name: 'dup' })], providers: [Fleeting] }));
    expect(error.message).toMatch(/Fleeting\.heard of .* request-scoped/);
    @Controller()
    @TaskQueue('dup')
    class Web {}
    const web = site.app({ imports: [JetlaneModule.registerQueue({ name: 'dup' })], controllers: [Web] });
    expect((await rejection(web)).message).toMatch(/Web of .* is a controller/);
    @TaskQueue({ useFactory: () => ({}) as { queue: string } })
    class Nowhere {}
    expect((await rejection(site.app({ providers: [Nowhere] }))).message).toContain('gave no queue');
  });

  it('is what a handler on a class without a queue is: nobody would ever call it', async () => {
    class Homeless {
      @TaskHandler('t')
      run() {}
    }
    const error = await rejection(site.app({ imports: [JetlaneModule.registerQueue({ name: 'dup' })], providers: [Homeless] }));
    expect(error).toMatchObject({ code: 'invalid-configuration' });
    expect(error.message).toMatch(/^Homeless of .* has handlers of tasks, but no queue; put @TaskQueue/);
  });

  it('names an option that does not exist, and what was probably meant', async () => {
    @TaskQueue('dup', { concurency: 3 } as object)
    class Slip {
      @TaskHandler('t')
      run() {}
    }
    @TaskQueue('dup')
    class Habit {
      @TaskHandler('t', { attempts: 3 } as object)
      run() {}
    }
    const start = (type: Type) => rejection(site.app({ imports: [JetlaneModule.registerQueue({ name: 'dup' })], providers: [type] }));
    expect((await start(Slip)).message).toMatch(/^@TaskQueue on Slip of .* has no option "concurency"; did you mean "concurrency"\?$/);
    expect((await start(Habit)).message).toMatch(/^what Habit.run of .* asks for is not valid: Unrecognized key: "attempts"$/);
  });

  it.each([
    [{ server: 'nats://nowhere' }, 'JetlaneModule.forRoot has no option "server"; did you mean "servers"?'],
    [
      { connection: { publish: () => undefined, jetstream: () => undefined } },
      'expected connection to be an open Connection of @jetlane/jetstream',
    ],
    [{ connection: { host: 'localhost', port: 6379 } }, 'expected connection to be an open Connection of @jetlane/jetstream'],
    [{ servers: 'redis://localhost:6379' }, 'expected servers to be URLs such as nats://host:4222; got one that begins with redis://'],
    [undefined, 'expected the factory of JetlaneModule.forRootAsync to return options, such as { servers }; got undefined'],
  ])('is what options of the connection %o are, instead of waiting for a server that nobody meant', async (options, message) => {
    const imports = [JetlaneModule.forRootAsync({ useFactory: () => options as JetlaneOptions })];
    const error = await rejection(site.start({ imports }));
    expect(error).toMatchObject({ code: 'invalid-configuration' });
    expect(error.message).toContain(message);
  });

  it('names the queue whose definition has an option that does not exist', async () => {
    const imports = [JetlaneModule.registerQueue({ name: 'dup', retries: 3 } as { name: string })];
    expect((await rejection(site.app({ imports }))).message).toBe('definition of queue "dup" is not valid: Unrecognized key: "retries"');
  });

  it('says which call is missing, or which class lacks its method', async () => {
    class NoFactory {}
    @Injectable()
    class Shop {
      constructor(@InjectQueue('dup', 'billing') readonly queue: Queue) {}
    }
    const messages = [
      site.start({ imports: [JetlaneModule.registerQueue({ name: 'dup', connection: 'billing' })] }),
      site.app({ providers: [Shop] }),
      site.start({ imports: [JetlaneModule.forRootAsync({ useClass: NoFactory as Type<JetlaneOptionsFactory> })] }),
    ].map(async (start) => (await rejection(start)).message);
    expect(await Promise.all(messages)).toEqual([
      expect.stringContaining('"JetlaneModule.forRoot({ name: "billing" })"'),
      expect.stringContaining('"JetlaneModule.registerQueue({ name: "dup", connection: "billing" })"'),
      'NoFactory cannot make the options of JetlaneModule.forRootAsync: it has no method createJetlaneOptions()',
    ]);
  });

  it('tells a test that put a double in the place of a queue with handlers how to do it', async () => {
    const imports = [JetlaneModule.forRoot(site.options), JetlaneModule.registerQueue({ name: 'dup' })];
    const builder = Test.createTestingModule({ imports, providers: [One] })
      .overrideProvider(getQueueToken('dup'))
      .useValue({});
    const app = await builder.compile();
    expect((await rejection(app.init())).message).toMatch(
      /^One of .* whose provider was overridden; use overrideQueue\(builder, "dup", double\)/,
    );
    await app.close();
  });
});

describe('a decorator that cannot work', () => {
  it('says so where it stands: without a type or a queue, on a property, compiled as a standard decorator', () => {
    const standard = TaskHandler('t') as unknown as (value: unknown, context: object) => void;
    const property = TaskHandler('t') as (target: object, key: string) => void;
    const wrong: [() => unknown, string][] = [
      [() => TaskHandler(undefined as unknown as string), '@TaskHandler needs a task type, or a contract; got undefined'],
      [() => BatchHandler('', { size: 1 }), '@BatchHandler needs a task type, or a contract; got ""'],
      [() => TaskQueue(undefined as unknown as string), '@TaskQueue needs the name of a queue, or a factory; got undefined'],
      [() => property({}, 'run'), '@TaskHandler stands on run, which is no method; write a method instead of a property'],
      [
        () => standard(() => undefined, { kind: 'method', name: 'run' }),
        '@TaskHandler was compiled as a standard decorator; NestJS needs "experimentalDecorators"',
      ],
    ];
    for (const [make, message] of wrong) expect(make).toThrow(message);
  });
});
