import {
  BatchContext,
  BatchHandler,
  type BatchRequest,
  currentBatch,
  currentTask,
  defineTask,
  getQueueToken,
  type ItemOutcome,
  JetlaneModule,
  OnTask,
  type Queue,
  TaskContext,
  TaskData,
  type TaskEventOf,
  TaskHandler,
  type TaskPayload,
  TaskQueue,
  TaskSignal,
  TaskWorkers,
} from '@jetlane/nestjs';
import type { BatchItem } from '@jetlane/worker';
import {
  type CallHandler,
  Catch,
  createParamDecorator,
  type ExceptionFilter,
  type ExecutionContext,
  Inject,
  Injectable,
  type NestInterceptor,
  NotFoundException,
  type OnModuleInit,
  ParseIntPipe,
  type PipeTransform,
  Scope,
  SetMetadata,
  UnprocessableEntityException,
  UseFilters,
  UseGuards,
  UseInterceptors,
  UsePipes,
} from '@nestjs/common';
import { APP_PIPE, REQUEST, Reflector } from '@nestjs/core';
import { map } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { rejection } from '../support/wait-until.js';
import { eventually, NestSite } from './nestjs-fixture.js';

let site: NestSite;
beforeAll(async () => {
  site = await NestSite.open('nestjs-batches');
  await site.schedule();
});
afterAll(() => site.close());

/** Enqueues and gives the outcomes, in the order of the payloads. */
const finish = async (queue: Queue, type: string, payloads: readonly unknown[]) => {
  const receipts = await Promise.all(payloads.map((data) => queue.enqueue(type, data)));
  return Promise.all(receipts.map((receipt) => queue.result(receipt)));
};

const all = (results: readonly unknown[]): ItemOutcome[] => results.map((result) => ({ success: true, result }));

describe('a batch handler', () => {
  it('gets the payloads and the context of the batch; each task has an outcome of its own', async () => {
    const dead: string[] = [];
    @TaskQueue('batch-plain', { concurrency: 8 })
    class Handlers {
      @BatchHandler('upper', { size: 4, maxWait: '30s' })
      async upper(texts: readonly string[], batch: BatchContext): Promise<ItemOutcome[]> {
        await Promise.resolve();
        expect(currentBatch()).toBe(batch);
        expect(currentTask()).toBeUndefined();
        expect(batch).toMatchObject({ queue: 'batch-plain', type: 'upper', group: undefined, deadline: undefined });
        return texts.map((text, i) => {
          if (text === 'bad') return { success: false, error: new Error('no'), retryable: false };
          if (text === 'wrong') return { success: false, error: new UnprocessableEntityException('not a word') };
          return { success: true, result: `${text.toUpperCase()} of ${texts.length}, ${batch.tasks[i]!.attempt}` };
        });
      }

      @OnTask('dead')
      onDead({ type, reason }: TaskEventOf<'dead'>) {
        dead.push(`${type} ${reason}`);
      }
    }
    const queue = await site.queueOf([Handlers], 'batch-plain');
    const [a, bad, wrong, b] = await finish(queue, 'upper', ['a', 'bad', 'wrong', 'b']);
    expect([a!.result, b!.result]).toEqual(['A of 4, 1', 'B of 4, 1']);
    expect(bad).toMatchObject({ state: 'dead', reason: 'fatal' });
    expect(wrong).toMatchObject({ state: 'dead', reason: 'payload-mismatch', error: { message: 'not a word' } });
    await eventually('both are heard of', () => dead.length === 2);
  });

  it('gets what its parameter decorators ask for; a payload that does not fit is dead alone', async () => {
    const Types = createParamDecorator(async (_: unknown, context: ExecutionContext) => [
      context.getType<string>(),
      context.getArgByIndex<BatchContext>(1) instanceof BatchContext,
    ]);
    const trim: PipeTransform = { transform: (value: unknown) => Promise.resolve(String(value).trim()) };
    const seen: unknown[] = [];
    @TaskQueue('batch-params', { concurrency: 10 })
    class Handlers {
      @BatchHandler('all', { size: 2, maxWait: '30s', groupBy: 'group' })
      all(
        @TaskContext() batch: BatchContext,
        @TaskSignal() signal: AbortSignal,
        @TaskData(z.object({ name: z.string(), n: z.coerce.number() })) checked: readonly unknown[],
        @TaskData() raw: readonly unknown[],
        @TaskData('name', trim) names: readonly string[],
        @TaskData('n', ParseIntPipe) numbers: readonly number[],
        @Types() types: unknown,
      ) {
        seen.push({ same: signal === batch.signal, aborted: signal.aborted, raw, names, types, count: batch.tasks.length });
        return all(checked.map((one, i) => ({ one, n: numbers[i]! + 1 })));
      }
    }
    const queue = await site.queueOf([Handlers], 'batch-params');
    const results = await finish(queue, 'all', [
      { name: ' a ', n: '1' },
      { name: 7, n: 1 },
      { name: 'b', n: 'x' },
      { name: 'c', n: '3' },
    ]);
    expect(results.map(({ state }) => state)).toEqual(['completed', 'dead', 'dead', 'completed']);
    expect(results[0]!.result).toEqual({ one: { name: ' a ', n: 1 }, n: 2 });
    expect(results[1]).toMatchObject({ reason: 'payload-mismatch', error: { message: expect.stringContaining('name: ') } });
    const raw = [
      { name: ' a ', n: '1' },
      { name: 'c', n: '3' },
    ];
    const [first] = seen as [{ raw: { name: string }[]; names: string[] }];
    expect([...first.raw].sort((x, y) => (x.name < y.name ? -1 : 1))).toEqual(raw);
    expect([...first.names].sort()).toEqual(['a', 'c']);
    expect(seen).toMatchObject([{ same: true, aborted: false, types: ['task', true], count: 2 }]);
  });

  it('may have a contract: payloads and results are checked one by one, older versions are upcast', async () => {
    const doc = defineTask({
      queue: 'batch-contract',
      type: 'index',
      version: 2,
      schema: z.object({ text: z.string().transform((text) => text.length) }),
      result: z.object({ length: z.number() }),
      upcast: (old) => ({ text: (old as string).trim() }),
    });
    const groups: unknown[] = [];
    @TaskQueue('batch-contract', { concurrency: 10 })
    class Handlers {
      @BatchHandler(doc, {
        size: 2,
        maxWait: '1s',
        groupBy: ({ text }: { text: number }) => String(text > 9),
      })
      index(docs: TaskPayload<typeof doc>[], { type, group }: BatchContext): ItemOutcome<{ length: number }>[] {
        groups.push(`${type} ${group}`);
        return docs.map(({ text }) => ({ success: true, result: { length: text === 5 ? ('five' as never) : text } }));
      }
    }
    const queue = await site.queueOf([Handlers], 'batch-contract');
    const results = await finish(queue, 'index:v2', [{ text: 'four' }, { text: 'fives' }, { text: 6 }]);
    expect(results.map(({ state, reason, result }) => reason ?? [state, result])).toEqual([
      ['completed', { length: 4 }],
      'result-mismatch',
      'payload-mismatch',
    ]);
    const [old, broken] = await finish(queue, 'index', ['of the first version', null]);
    expect(old).toMatchObject({ state: 'completed', type: 'index', result: { length: 20 } });
    expect(broken).toMatchObject({ reason: 'payload-mismatch', attempt: 1, error: { message: expect.stringMatching(/null/) } });
    expect(groups).toEqual(['index:v2 false', 'index true']);
  });
});

class Refused extends Error {}

@Catch(Refused)
class RefusedFilter implements ExceptionFilter {
  catch(error: Refused) {
    return all([error.message]);
  }
}

@Injectable()
class Doubled implements NestInterceptor {
  intercept(_: ExecutionContext, next: CallHandler<ItemOutcome[]>) {
    return next.handle().pipe(map((outcomes) => outcomes.map((one) => (one.success ? { ...one, result: [one.result, one.result] } : one))));
  }
}

@Injectable()
class SmallGuard {
  constructor(@Inject(Reflector) private readonly reflector: Reflector) {}

  canActivate(context: ExecutionContext): boolean {
    const [payloads] = context.getArgs<[unknown[]]>();
    const most = this.reflector.get<number>('most', context.getHandler());
    return context.getHandler().name === 'guarded' && payloads.length <= most;
  }
}

describe('enhancers of a batch handler', () => {
  it('guard, intercept, pipe and catch the batch as a whole', async () => {
    @TaskQueue('batch-enhanced', { concurrency: 10 })
    @UseInterceptors(Doubled)
    class Handlers {
      @BatchHandler('guarded', { size: 2, maxWait: '1s' })
      @UseGuards(SmallGuard)
      @SetMetadata('most', 1)
      guarded(@TaskData(z.string()) texts: readonly string[]) {
        return all(texts);
      }

      @BatchHandler('piped', { size: 2, maxWait: '30s' })
      @UsePipes({ transform: (value: unknown) => (Array.isArray(value) ? value.map((one) => `<${one}>`) : value) })
      piped(texts: readonly string[], batch: BatchContext) {
        return all(texts.map((text) => `${text} ${batch.tasks.length}`));
      }

      @BatchHandler('caught', { size: 1 })
      @UseFilters(RefusedFilter)
      caught(): ItemOutcome[] {
        throw new Refused('not today');
      }

      @BatchHandler('failed', { size: 2, maxWait: '30s' })
      failed(): ItemOutcome[] {
        throw new NotFoundException('nobody home');
      }
    }
    const upper: PipeTransform = { transform: (value: unknown) => (Array.isArray(value) ? value.map((one) => `${one}!`) : value) };
    const queue = await site.queueOf([Handlers, { provide: APP_PIPE, useValue: upper }], 'batch-enhanced');
    expect((await finish(queue, 'guarded', ['a']))[0]!.result).toEqual(['a', 'a']);
    const both = await finish(queue, 'guarded', ['a', 'b']);
    expect(both.map(({ error }) => error?.name)).toEqual(['ForbiddenException', 'ForbiddenException']);
    const piped = await finish(queue, 'piped', ['a', 'b']);
    expect(piped.map(({ result }) => result)).toEqual([
      ['<a!> 2', '<a!> 2'],
      ['<b!> 2', '<b!> 2'],
    ]);
    expect((await finish(queue, 'caught', [1]))[0]!.result).toBe('not today');
    const failed = await finish(queue, 'failed', [1, 2]);
    expect(failed.map(({ reason, error }) => [reason, error?.message])).toEqual(Array(2).fill(['attempts-exhausted', 'nobody home']));
  });

  it('may be request-scoped, as may the class: made per batch, with its payloads and context as REQUEST', async () => {
    let made = 0;
    @TaskQueue('batch-scoped', { concurrency: 10 })
    @Injectable({ scope: Scope.REQUEST })
    class Handlers {
      readonly number = ++made;

      constructor(@Inject(REQUEST) private readonly request: BatchRequest) {}

      @BatchHandler('t', { size: 2, maxWait: '30s' })
      run(@TaskData('n') numbers: readonly number[], @TaskContext() batch: BatchContext) {
        const { data, context } = this.request;
        return all(numbers.map((n) => [n, data.length, context === batch, this.number]));
      }
    }
    const queue = await site.queueOf([Handlers], 'batch-scoped');
    const results = await finish(queue, 't', [{ n: 1 }, { n: 2 }]);
    expect(results.map(({ result }) => result)).toEqual([
      [1, 2, true, 1],
      [2, 2, true, 1],
    ]);
  });
});

describe('a batch handler at start-up', () => {
  it('gives its worker slots enough, and may come from TaskWorkers.register and from the container', async () => {
    @Injectable()
    class Settings {
      readonly size = 25;
    }
    @TaskQueue('batch-slots')
    class Handlers {
      @BatchHandler('t', { inject: [Settings], useFactory: ({ size }: Settings) => ({ size, minGap: '1ms' }) })
      run(items: readonly unknown[]) {
        return all(items);
      }
    }
    @Injectable()
    class Dynamic implements OnModuleInit {
      constructor(@Inject(TaskWorkers) private readonly workers: TaskWorkers) {}

      onModuleInit() {
        const handleBatch = (items: readonly BatchItem<string>[]) => all(items.map(({ data, context }) => `${data} ${context.attempt}`));
        this.workers.register({ queue: 'batch-slots', type: 'dynamic', size: 1, handleBatch });
      }
    }
    const app = await site.app({
      imports: [JetlaneModule.registerQueue({ name: 'batch-slots' })],
      providers: [Handlers, Settings, Dynamic],
    });
    const [dynamic] = await finish(app.get<Queue>(getQueueToken('batch-slots')), 'dynamic', ['x']);
    expect(dynamic!.result).toBe('x 1');
    expect(app.get(TaskWorkers).worker('batch-slots')?.health().slots).toBe(25);
    expect(app.get(TaskWorkers).batchHandler('batch-slots', 't')).toMatchObject({ size: 25 });
    expect(app.get(TaskWorkers).handler('batch-slots', 't')).toBeUndefined();
  });

  it.each([
    [{ size: 0 }, 'size'],
    [{ size: 5, maxWait: '2h' }, 'maxWait'],
    [{ size: 5, minGap: 'soon' }, 'minGap'],
    [{ size: 5, groupBy: 'tenant' as 'group' }, 'groupBy'],
    [{ size: 5, retry: { retryable: 1 as never } }, 'retry.retryable'],
  ])('is refused with %o, by name', async (options, field) => {
    @TaskQueue('batch-wrong')
    class Wrong {
      @BatchHandler('t', options)
      run() {}
    }
    const error = await rejection(site.app({ imports: [JetlaneModule.registerQueue({ name: 'batch-wrong' })], providers: [Wrong] }));
    expect(error).toMatchObject({ code: 'invalid-configuration' });
    expect(error.message).toMatch(new RegExp(`Wrong\\.run of .*${field}`));
  });

  it('is refused as a second handler of its type, and on the method of another kind', async () => {
    @TaskQueue('batch-wrong')
    class Twice {
      @TaskHandler('t')
      one() {}

      @BatchHandler('t', { size: 2 })
      many() {}
    }
    @TaskQueue('batch-wrong')
    class Both {
      @TaskHandler('u')
      @BatchHandler('v', { size: 2 })
      run() {}
    }
    const start = (type: new () => object) =>
      rejection(site.app({ imports: [JetlaneModule.registerQueue({ name: 'batch-wrong' })], providers: [type] }));
    expect(await start(Twice)).toMatchObject({ code: 'duplicate-handler' });
    expect((await start(Both)).message).toContain('Both.run of');
  });
});
