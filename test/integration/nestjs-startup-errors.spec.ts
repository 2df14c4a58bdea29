import { JetlaneModule, OnTask, TaskHandler, TaskQueue } from '@jetlane/nestjs';
import { Controller, Injectable, Module, Scope } from '@nestjs/common';
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
});
