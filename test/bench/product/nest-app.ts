import 'reflect-metadata';
import type { Connection } from '@jetlane/jetstream';
import { BatchHandler, JetlaneModule, TaskContext, TaskData, TaskHandler, TaskQueue } from '@jetlane/nestjs';
import {
  type CallHandler,
  type CanActivate,
  type INestApplicationContext,
  type NestInterceptor,
  type Type,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { QUEUE, TASK_TYPE } from '../harness/contract.js';

/** Slots of the worker, the same as of the worker without NestJS. */
const CONCURRENCY = 512;
/** Likewise, of batches. */
const BATCH = 100;
const BATCH_CONCURRENCY = 600;

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
export class Guarded {
  @TaskHandler(TASK_TYPE)
  async handle() {
    return run();
  }

  @TaskHandler('params')
  async params(@TaskData() _data: unknown, @TaskContext() _context: TaskContext) {
    return run();
  }
}

@TaskQueue(QUEUE, { concurrency: BATCH_CONCURRENCY })
class Batched {
  @BatchHandler(TASK_TYPE, { size: BATCH, maxWait: 20 })
  async handle(payloads: readonly unknown[]) {
    return payloads.map(() => ({ success: true, result: run() }));
  }
}

const VARIANTS: Readonly<Record<string, Type>> = { guarded: Guarded, batch: Batched };

/** An application whose worker runs a handler that does nothing; variants: `bare`, `no-async-context`, `guarded`, `batch`. */
export function openApp(connection: Connection, variant: string): Promise<INestApplicationContext> {
  class BenchModule {}
  return NestFactory.createApplicationContext(
    {
      module: BenchModule,
      imports: [
        JetlaneModule.forRoot({ connection, role: 'producer', asyncContext: variant !== 'no-async-context' }),
        JetlaneModule.registerQueue({ name: QUEUE }),
      ],
      providers: [VARIANTS[variant] ?? Bare],
    },
    { logger: false },
  );
}
