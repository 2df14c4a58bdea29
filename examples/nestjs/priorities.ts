import { setTimeout as sleep } from 'node:timers/promises';
import {
  getQueueToken,
  JetlaneModule,
  type JetlaneOptions,
  type Queue,
  type TaskContext,
  TaskHandler,
  TaskQueue,
  TaskWorkers,
} from '@jetlane/nestjs';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';

/** One slot, lanes in strict order: when it is free, what is critical goes first, whenever it came. */
export async function main(log: (line: string) => void = console.log, options: JetlaneOptions = {}): Promise<void> {
  let paperIsThere: () => void = () => undefined;
  const paper = new Promise<void>((resolve) => {
    paperIsThere = resolve;
  });

  @TaskQueue('print', { concurrency: 1, mode: 'strict' })
  class Printer {
    @TaskHandler('page')
    async print(text: string, { lane }: TaskContext) {
      await paper;
      log(`${lane}: ${text}`);
    }
  }

  @Module({ imports: [JetlaneModule.forRoot(options), JetlaneModule.registerQueue({ name: 'print' })], providers: [Printer] })
  class AppModule {}

  const app = await NestFactory.createApplicationContext(AppModule, { logger: false });
  const queue = app.get<Queue>(getQueueToken('print'));
  const worker = app.get(TaskWorkers).worker('print')!;
  const receipts = [await queue.enqueue('page', 'the page that is in the printer', { lane: 'low' })];
  while (worker.health().busy < 1) await sleep(5);
  receipts.push(
    await queue.enqueue('page', 'newsletter', { lane: 'low' }),
    await queue.enqueue('page', 'report'),
    await queue.enqueue('page', 'boarding pass', { lane: 'high' }),
    await queue.enqueue('page', 'evacuation plan', { lane: 'critical' }),
  );
  // The worker has one task of every other lane at hand, so that the highest can go next without a round trip.
  while (worker.health().lanes.reduce((sum, { buffered }) => sum + buffered, 0) < 3) await sleep(5);
  paperIsThere();
  await Promise.all(receipts.map((receipt) => queue.result(receipt)));
  await app.close();
}
