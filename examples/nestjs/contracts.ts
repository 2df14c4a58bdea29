import {
  defineTask,
  getQueueToken,
  JetlaneModule,
  type JetlaneOptions,
  type Queue,
  TaskHandler,
  type TaskPayload,
  TaskQueue,
} from '@jetlane/nestjs';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { z } from 'zod';

/** Shared by producer and handler: wrong payloads do not compile, and do not get past either end at run time. */
const resize = defineTask({
  queue: 'images',
  type: 'resize',
  version: 2,
  schema: z.object({ url: z.url(), width: z.number().int().positive(), height: z.number().int().positive() }),
  result: z.object({ pixels: z.number() }),
  // Version 1 had squares only; its tasks may still be waiting.
  upcast: (old) => {
    const { url, size } = old as { url: string; size: number };
    return { url, width: size, height: size };
  },
});

@TaskQueue('images')
class Images {
  @TaskHandler(resize)
  resize({ width, height }: TaskPayload<typeof resize>) {
    return { pixels: width * height };
  }
}

export async function main(log: (line: string) => void = console.log, options: JetlaneOptions = {}): Promise<void> {
  @Module({ imports: [JetlaneModule.forRoot(options), JetlaneModule.registerQueue({ name: 'images' })], providers: [Images] })
  class AppModule {}

  const app = await NestFactory.createApplicationContext(AppModule, { logger: false });
  const queue = app.get<Queue>(getQueueToken('images'));
  const done = await queue.result(await queue.enqueue(resize, { url: 'https://example.org/a.png', width: 40, height: 30 }));
  log(`pixels: ${done.result?.pixels}`);
  const old = await queue.result(await queue.enqueue('resize', { url: 'https://example.org/b.png', size: 10 }));
  log(`of version 1: ${JSON.stringify(old.result)}`);
  // The compiler would refuse this; a caller in another language has none.
  const wrong = { url: 'nowhere', width: 1.5, height: 3 };
  await queue.enqueue(resize, wrong).catch((error: Error & { code: string }) => log(`${error.code}: ${error.message.split(': ')[1]}`));
  const dead = await queue.result(await queue.enqueue('resize:v2', wrong));
  log(`${dead.state} at attempt ${dead.attempt}: ${dead.reason}`);
  await app.close();
}
