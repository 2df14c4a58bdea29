import {
  getQueueToken,
  JetlaneModule,
  type Queue,
  TASK_CONTEXT,
  TaskContext,
  TaskData,
  TaskHandler,
  TaskQueue,
  type TaskRequest,
} from '@jetlane/nestjs';
import { FatalError, JetlaneError } from '@jetlane/protocol';
import { RetryLater } from '@jetlane/worker';
import {
  type ArgumentMetadata,
  type ArgumentsHost,
  BadRequestException,
  type CallHandler,
  type CanActivate,
  Catch,
  createParamDecorator,
  type ExceptionFilter,
  type ExecutionContext,
  Inject,
  Injectable,
  type NestInterceptor,
  ParseIntPipe,
  type PipeTransform,
  Scope,
  SetMetadata,
  UseFilters,
  UseGuards,
  UseInterceptors,
  UsePipes,
} from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_INTERCEPTOR, APP_PIPE, REQUEST, Reflector } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { map } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { rejection } from '../support/wait-until.js';
import { NestSite, ONCE, QUICK } from './nestjs-fixture.js';

let site: NestSite;
beforeAll(async () => {
  site = await NestSite.open('nestjs-enhancers');
  await site.schedule();
});
afterAll(() => site.close());

const finish = async (queue: Queue, type: string, data?: unknown) => queue.result(await queue.enqueue(type, data));

const roleSchema = z.string().transform(async (role) => role.toUpperCase());

class Refused extends Error {}

@Injectable()
class RoleGuard implements CanActivate {
  constructor(@Inject(Reflector) private readonly reflector: Reflector) {}

  canActivate(context: ExecutionContext): boolean {
    if (context.getType<string>() !== TASK_CONTEXT) return true;
    const [data, task] = context.getArgs<[{ role: string }, TaskContext]>();
    return task.queue !== '' && data.role === this.reflector.get<string>('role', context.getHandler());
  }
}

@Injectable()
class Wrap implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(map((result) => ({ by: context.getClass().name, result })));
  }
}

@Catch(Refused)
class RefusedFilter implements ExceptionFilter {
  catch(error: Refused, host: ArgumentsHost) {
    const [data] = host.getArgs<[unknown]>();
    return { refused: error.message, data, type: host.getType<string>() };
  }
}

const piped: ArgumentMetadata[] = [];
class Trim implements PipeTransform {
  transform(value: unknown, metadata: ArgumentMetadata): unknown {
    piped.push(metadata);
    return typeof value === 'string' ? value.trim() : value;
  }
}

const TaskId = createParamDecorator((_: unknown, context: ExecutionContext) => context.getArgByIndex<TaskContext>(1).id);

describe('enhancers of a handler', () => {
  it('guard, intercept, pipe and catch: on a method and on a class', async () => {
    @TaskQueue('local')
    @UseInterceptors(Wrap)
    class Handlers {
      @TaskHandler('guarded')
      @UseGuards(RoleGuard)
      @SetMetadata('role', 'admin')
      guarded() {
        return 'in';
      }

      @TaskHandler('filled')
      @UseGuards(RoleGuard)
      @SetMetadata('role', 'admin')
      filled(@TaskContext() { type }: TaskContext, @TaskData('role', roleSchema) role: string) {
        return { type, role };
      }

      @TaskHandler('piped')
      @UsePipes(Trim)
      piped(text: string, { key }: TaskContext) {
        return { text, key: key.length > 0 };
      }

      @TaskHandler('parsed')
      parsed(@TaskData('count', ParseIntPipe) count: number, @TaskId() id: string) {
        return { next: count + 1, id: id.startsWith('local.') };
      }

      @TaskHandler('caught')
      @UseFilters(RefusedFilter)
      caught() {
        throw new Refused('not today');
      }

      @TaskHandler('uncaught')
      @UseFilters(RefusedFilter)
      uncaught() {
        throw new FatalError('never', { code: 'fatal' });
      }
    }
    const queue = await site.queueOf([Handlers, RoleGuard], 'local');
    expect(await finish(queue, 'guarded', { role: 'admin' })).toMatchObject({
      state: 'completed',
      result: { by: 'Handlers', result: 'in' },
    });
    for (const type of ['guarded', 'filled'])
      expect(await finish(queue, type, { role: 'guest' })).toMatchObject({ state: 'dead', error: { name: 'ForbiddenException' } });
    expect((await finish(queue, 'filled', { role: 'admin' })).result).toEqual({
      by: 'Handlers',
      result: { type: 'filled', role: 'ADMIN' },
    });
    expect((await finish(queue, 'piped', '  x ')).result).toEqual({ by: 'Handlers', result: { text: 'x', key: true } });
    // As an HTTP body, so that a ValidationPipe does its work; the context is none of its business.
    expect(piped).toMatchObject([{ type: 'body', metatype: String }, { type: 'custom' }]);
    expect((await finish(queue, 'parsed', { count: '41' })).result).toEqual({ by: 'Handlers', result: { next: 42, id: true } });
    expect(await finish(queue, 'parsed', { count: 'many' })).toMatchObject({ state: 'dead', reason: 'payload-mismatch' });
    expect(await finish(queue, 'caught', 1)).toMatchObject({ state: 'completed', result: { refused: 'not today', data: 1, type: 'task' } });
    expect(await finish(queue, 'uncaught')).toMatchObject({ state: 'dead', reason: 'fatal', error: { message: 'never' } });
  });

  it('may be global, by tokens', async () => {
    const order: string[] = [];
    const note = (what: string, context: ExecutionContext) => void order.push(`${what} ${context.getHandler().name}`);
    @Injectable()
    class GlobalGuard implements CanActivate {
      canActivate(context: ExecutionContext): boolean {
        note('guard', context);
        return true;
      }
    }
    @Injectable()
    class GlobalInterceptor implements NestInterceptor {
      intercept(context: ExecutionContext, next: CallHandler) {
        note('interceptor', context);
        return next.handle();
      }
    }
    @TaskQueue('global')
    class Handlers {
      @TaskHandler('text')
      text(text: string) {
        order.push('handler');
        if (text === 'bad') throw new Refused('bad');
        return text;
      }
    }
    const queue = await site.queueOf(
      [
        Handlers,
        { provide: APP_GUARD, useClass: GlobalGuard },
        { provide: APP_INTERCEPTOR, useClass: GlobalInterceptor },
        { provide: APP_PIPE, useClass: Trim },
        { provide: APP_FILTER, useClass: RefusedFilter },
      ],
      'global',
    );
    expect((await finish(queue, 'text', ' a ')).result).toBe('a');
    expect(order).toEqual(['guard text', 'interceptor text', 'handler']);
    expect((await finish(queue, 'text', 'bad ')).result).toMatchObject({ refused: 'bad' });
  });

  it('may be global, by app.useGlobal…, before the application is initialised', async () => {
    @TaskQueue('use-global')
    class Handlers {
      @TaskHandler('text')
      text(text: string) {
        return text;
      }
    }
    const module = await Test.createTestingModule({
      imports: [JetlaneModule.forRoot(site.options), JetlaneModule.registerQueue({ name: 'use-global', retry: ONCE })],
      providers: [Handlers],
    }).compile();
    const app = module.createNestApplication(new FastifyAdapter());
    app.useGlobalPipes(new Trim()).useGlobalInterceptors(new Wrap());
    await app.init();
    try {
      expect((await finish(app.get<Queue>(getQueueToken('use-global')), 'text', ' a ')).result).toEqual({ by: 'Handlers', result: 'a' });
    } finally {
      await app.close();
    }
  });

  it('that say 400 mean dead at once; other control of the retry passes through', async () => {
    @TaskQueue('final')
    class Handlers {
      @TaskHandler('direct', { retry: QUICK })
      direct() {
        throw new BadRequestException(['n must be a number', 'm is missing']);
      }

      @TaskHandler('later', { retry: QUICK })
      @UseGuards(RoleGuard)
      later(_: unknown, { attempt }: TaskContext) {
        if (attempt === 1) throw new RetryLater(1);
        return attempt;
      }
    }
    const queue = await site.queueOf([Handlers, RoleGuard], 'final');
    const direct = await finish(queue, 'direct');
    expect(direct).toMatchObject({ state: 'dead', reason: 'payload-mismatch', attempt: 1 });
    expect(direct.error?.message).toBe('n must be a number; m is missing');
    expect((await finish(queue, 'later', {})).result).toBe(2);
  });
});

describe('enhancers that Nest would pass over', () => {
  it('are a start-up error: of classes that stand on an instance from a factory', async () => {
    @TaskQueue('factory')
    @UseGuards(RoleGuard)
    class Made {
      @TaskHandler('t')
      run() {}
    }
    const start = site.queueOf([{ provide: Made, useFactory: () => new Made() }], 'factory');
    expect((await rejection(start)).message).toMatch(/Made\.run .*ignore RoleGuard/);

    @TaskQueue('factory')
    @UseGuards({ canActivate: () => false })
    class Guarded {
      @TaskHandler('t')
      run() {}
    }
    const queue = await site.queueOf([{ provide: Guarded, useFactory: () => new Guarded() }], 'factory');
    expect(await finish(queue, 't')).toMatchObject({ state: 'dead', error: { name: 'ForbiddenException' } });
  });
});

describe('a request-scoped class', () => {
  it('is made per task, with the task as REQUEST, and so is what it depends on', async () => {
    let made = 0;
    @Injectable({ scope: Scope.REQUEST })
    class Tenant {
      readonly number = ++made;

      constructor(@Inject(REQUEST) readonly request: TaskRequest) {}
    }
    @Injectable()
    class TenantGuard implements CanActivate {
      constructor(@Inject(Tenant) private readonly tenant: Tenant) {}

      canActivate(): boolean {
        return (this.tenant.request.data as { tenant: string }).tenant !== 'banned';
      }
    }
    @TaskQueue('scoped')
    class Handlers {
      constructor(@Inject(Tenant) private readonly tenant: Tenant) {}

      @TaskHandler('plain')
      plain(@TaskData('tenant') tenant: string, @TaskContext() context: TaskContext) {
        const { request, number } = this.tenant;
        return { tenant, same: request.context === context, number };
      }

      @TaskHandler('guarded')
      @UseGuards(TenantGuard)
      guarded() {
        return this.tenant.number;
      }
    }
    const queue = await site.queueOf([Handlers, Tenant], 'scoped');
    expect((await finish(queue, 'plain', { tenant: 'a' })).result).toEqual({ tenant: 'a', same: true, number: 1 });
    expect((await finish(queue, 'plain', { tenant: 'b' })).result).toEqual({ tenant: 'b', same: true, number: 2 });
    expect((await finish(queue, 'guarded', { tenant: 'c' })).result).toBe(3);
    expect((await finish(queue, 'guarded', { tenant: 'banned' })).state).toBe('dead');
  });

  it('is what a request-scoped global guard makes of every class', async () => {
    const seen: unknown[] = [];
    @Injectable({ scope: Scope.REQUEST })
    class ScopedGuard implements CanActivate {
      constructor(@Inject(REQUEST) private readonly request: TaskRequest) {}

      canActivate(): boolean {
        seen.push(this.request.data);
        return true;
      }
    }
    @TaskQueue('scoped-guard')
    class Handlers {
      @TaskHandler('t')
      run() {
        return 'done';
      }
    }
    const queue = await site.queueOf([Handlers, { provide: APP_GUARD, useClass: ScopedGuard }], 'scoped-guard');
    expect((await finish(queue, 't', 'x')).result).toBe('done');
    expect(seen).toEqual(['x']);
  });
});

describe('errors', () => {
  it('keep their class, code and message through the pipeline', async () => {
    @TaskQueue('errors')
    @UseInterceptors(Wrap)
    class Handlers {
      @TaskHandler('own')
      own() {
        throw new JetlaneError('queue-full', 'no room');
      }

      @TaskHandler('text')
      text() {
        throw 'only a text';
      }
    }
    const queue = await site.queueOf([Handlers], 'errors');
    expect(await finish(queue, 'own')).toMatchObject({
      state: 'dead',
      error: { name: 'JetlaneError', code: 'queue-full', message: 'no room' },
    });
    expect(await finish(queue, 'text')).toMatchObject({ state: 'dead', error: { message: 'only a text' } });
  });
});
