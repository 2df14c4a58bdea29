import { Scheduler } from '@jetlane/worker/scheduler';
import type { BeforeApplicationShutdown, OnApplicationBootstrap } from '@nestjs/common';
import type { TaskWorkers } from '../handlers/workers.js';
import type { Jetlane } from '../module/jetlane.js';
import { nestLog } from '../module/nest-log.js';

/** Few, so that a process whose handlers keep its event loop busy holds back few of the others' due tasks. */
const SLOTS = 128;

/**
 * Moves due tasks of the whole installation while an application has workers, so that delays and retries need no service beside it.
 * Schedulers share the work, in whatever number and wherever they run. States: idle → running → stopped, by the application's hooks.
 */
export class AppScheduler implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private scheduler: Scheduler | undefined;

  constructor(
    private readonly jetlane: Jetlane,
    private readonly workers: TaskWorkers,
    private readonly wanted: boolean,
  ) {}

  /** Called by Nest. @throws JetlaneError `server-too-old`, `stream-mismatch`, `jetstream-api` */
  async onApplicationBootstrap(): Promise<void> {
    if (!this.wanted || this.jetlane.role === 'producer' || this.workers.queueNames().length === 0) return;
    this.scheduler = new Scheduler(this.jetlane.connection, { log: nestLog, slots: SLOTS });
    await this.scheduler.start();
  }

  /** Called by Nest. What is in hand is finished or left to its lease. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.scheduler?.stop();
    this.scheduler = undefined;
  }
}
