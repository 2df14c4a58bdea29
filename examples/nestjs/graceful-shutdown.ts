import { getQueueToken, JetlaneModule, type JetlaneOptions, type Queue, TaskHandler, TaskQueue, TaskSignal } from '@jetlane/nestjs';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';

/** Nothing is lost when a process ends: short tasks finish, long ones see their signal and go to another process. */
export async function main(log: (line: string) => void = console.log, options: JetlaneOptions = {}): Promise<void> {
  let started = 0;
  let bothStarted: () => void = () => undefined;
  const running = new Promise<void>((resolve) => {
    bothStarted = resolve;
  });
  const process = async (name: string) => {
    @TaskQueue('video')
    class Videos {
      @TaskHandler('encode')
      async encode(seconds: number) {
        if (++started === 2) bothStarted();
        await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
        log(`${name} finished the short one`);
      }

      @TaskHandler('transcode')
      async transcode(@TaskSignal() signal: AbortSignal) {
        if (++started === 2) bothStarted();
        if (name === 'second') return log('second took the long one over');
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      }
    }
    @Module({
      // In production: app.enableShutdownHooks(), and a timeout below that of the orchestrator.
      imports: [JetlaneModule.forRoot({ ...options, shutdownTimeout: '500ms' }), JetlaneModule.registerQueue({ name: 'video' })],
      providers: [Videos],
    })
    class AppModule {}
    return NestFactory.createApplicationContext(AppModule, { logger: false });
  };

  const first = await process('first');
  const queue = first.get<Queue>(getQueueToken('video'));
  await queue.enqueue('encode', 0.1);
  const long = await queue.enqueue('transcode');
  await running;
  await first.close();
  log('first has ended');
  const second = await process('second');
  const { state } = await second.get<Queue>(getQueueToken('video')).result(long);
  log(`the long one is ${state}`);
  await second.close();
}
