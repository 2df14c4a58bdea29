import 'reflect-metadata';
import type { Connection } from '@jetlane/jetstream';
import { JetlaneModule, TaskContext, TaskData, TaskHandler, TaskQueue } from '@jetlane/nestjs';
import {
  type CallHandler,
  type CanActivate,
  type INestApplicationContext,
  type NestInterceptor,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { QUEUE, TASK_TYPE } from '../harness/contract.js';

/** Slots of the worker, the same as of the worker without NestJS. */
const CONCURRENCY = 512;

/** When the first task began, by `performance.now()`. */
export const firstRun = { at: 0 };

const done = { ok: true };
const run = (): { ok: boolean } => {
  if (firstRun.at === 0) firstRun.at = performance.now();
  return done;
};

class Allow implements CanActivate {
  canActivate(): boolean {
    return true;
  }
}

class Pass implements NestInterceptor {
  intercept(_: unknown, next: CallHandler) {
    return next.handle();
  }
}

@TaskQueue(QUEUE, { concurrency: CONCURRENCY })
class Bare {
  @TaskHandler(TASK_TYPE)
  async handle() {
    return run();
  }

  @TaskHandler('params')
  async params(@TaskData() _data: unknown, @TaskContext() _context: TaskContext) {
    return run();
  }
}

@TaskQueue(QUEUE, { concurrency: CONCURRENCY })
@UseGuards(Allow)
@UseInterceptors(Pass)
class Guarded {
  @TaskHandler(TASK_TYPE)
  async handle() {
    return run();
  }
}

/** An application whose worker runs a handler that does nothing; variants: `bare`, `no-async-context`, `guarded`. */
export function openApp(connection: Connection, variant: string): Promise<INestApplicationContext> {
  class BenchModule {}
  return NestFactory.createApplicationContext(
    {
      module: BenchModule,
      imports: [
        JetlaneModule.forRoot({ connection, role: 'producer', asyncContext: variant !== 'no-async-context' }),
        JetlaneModule.registerQueue({ name: QUEUE }),
      ],
      providers: [variant === 'guarded' ? Guarded : Bare],
    },
    { logger: false },
  );
}
