import { TaskWorkers } from '@jetlane/nestjs';
import type { TaskContext } from '@jetlane/worker';
import type { INestApplicationContext } from '@nestjs/common';
import { ExternalContextCreator } from '@nestjs/core';
import { type Job, type Measurement, QUEUE, TASK_TYPE } from '../harness/contract.js';
import { Guarded, openApp } from './nest-app.js';
import { openSession, type Session } from './session.js';

type Handler = (data: unknown, context: TaskContext) => unknown;

const CALLS = 20_000;
const ROUNDS = 6;
const CONTEXT = { queue: QUEUE, type: TASK_TYPE } as TaskContext;

/** What a call of a handler costs over the direct call of its method, in microseconds of CPU: each awaited, best of several rounds. */
export async function run(job: Job): Promise<Measurement> {
  const session = await openSession(job, 'nest-call');
  const direct = await best(async () => ({ ok: true }));
  const over = async (variant: string, type = TASK_TYPE) => (await costOf(session, variant, handlerOf(type))) - direct;
  const values = {
    direct,
    plain: await over('no-async-context'),
    bare: await over('bare'),
    params: await over('bare', 'params'),
    guarded: await over('guarded'),
    guardedParams: await over('guarded', 'params'),
    pipeline: (await costOf(session, 'guarded', pipelineOf)) - direct,
  };
  await session.close();
  return { values };
}

const handlerOf =
  (type: string) =>
  (app: INestApplicationContext): Handler =>
    app.get(TaskWorkers).handler(QUEUE, type)!;

/** What Nest's own pipeline costs around the same method, with nothing of ours. */
function pipelineOf(app: INestApplicationContext): Handler {
  const instance = app.get(Guarded);
  return app.get(ExternalContextCreator, { strict: false }).create(instance, instance.handle, 'undecorated') as Handler;
}

async function costOf({ connection }: Session, variant: string, choose: (app: INestApplicationContext) => Handler): Promise<number> {
  const app = await openApp(connection, variant);
  const cost = await best(choose(app));
  await app.close();
  return cost;
}

/** By the process's own time: what others do on the machine between two calls does not count. */
async function best(handler: Handler): Promise<number> {
  let fastest = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round += 1) {
    const before = process.cpuUsage();
    for (let call = 0; call < CALLS; call += 1) await handler(call, CONTEXT);
    const { user, system } = process.cpuUsage(before);
    fastest = Math.min(fastest, user + system);
  }
  return fastest / CALLS;
}
