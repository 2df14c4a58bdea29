import { type DynamicModule, Module } from '@nestjs/common';
import type { TaskWorkers } from '../handlers/workers.js';
import type { Jetlane } from '../module/jetlane.js';
import type { JetlaneOptions } from '../module/options.js';
import { getJetlaneToken, getOptionsToken, getWorkersToken } from '../module/tokens.js';
import { AppScheduler } from './app-scheduler.js';

/** Holds the scheduler of one connection. */
@Module({})
class JetlaneSchedulerModule {}

/** The module that moves due tasks while a connection's workers run. */
export function schedulerModule(name: string, connection: DynamicModule, workers: DynamicModule): DynamicModule {
  return {
    module: JetlaneSchedulerModule,
    imports: [connection, workers],
    providers: [
      {
        provide: `jetlane:scheduler:${name}`,
        inject: [getJetlaneToken(name), getWorkersToken(name), getOptionsToken(name)],
        useFactory: (jetlane: Jetlane, taskWorkers: TaskWorkers, { scheduler = true }: JetlaneOptions) =>
          new AppScheduler(jetlane, taskWorkers, scheduler),
      },
    ],
  };
}
