import { type Duration, JetlaneError } from '@jetlane/protocol';
import { type AnyBatchHandler, type AnyTaskHandler, type BatchHandler, type TaskContext, type TaskHandler, Worker } from '@jetlane/worker';
import type { BeforeApplicationShutdown, OnApplicationBootstrap, OnModuleInit } from '@nestjs/common';
import type { Jetlane } from '../module/jetlane.js';
import { nestLog } from '../module/nest-log.js';
import { getQueueToken } from '../module/tokens.js';
import { batchHandler } from './batch-handler.js';
import type { FoundClass, FoundHandler, FoundListener, TaskExplorer } from './explorer.js';
import type { Invoker } from './invoker.js';
import type { BatchHandlerOptions, TaskEventName, TaskEventOf, TaskHandlerOptions } from './metadata.js';
import { overriddenQueue, type PlannedHandler, QueuePlan, unknownQueue } from './plan.js';

/** A handler that is not a decorated method. */
export interface DynamicHandler extends TaskHandlerOptions {
  readonly queue: string;
  readonly type: string;
  readonly handle: AnyTaskHandler;
}

/** A batch handler that is not a decorated method; it gets items, each with its payload as `data` and its `context`. */
export interface DynamicBatchHandler extends BatchHandlerOptions {
  readonly queue: string;
  readonly type: string;
  readonly handleBatch: AnyBatchHandler;
}

/** A batch handler with its contract, guards, pipes, interceptors and filters. */
export interface BatchCalls {
  /** Gives what a task brings into a batch, at once or as a promise, or throws what is wrong with its payload. Default: the payload. */
  readonly accept?: (payload: unknown, context: TaskContext) => unknown;
  /** Takes what `accept` gave; returns outcomes in the same order. */
  readonly handleBatch: BatchHandler;
}

/** What the workers of a connection go by. */
export interface WorkersSettings {
  readonly connection: string;
  readonly shutdownTimeout: Duration;
  readonly asyncContext: boolean;
}

/**
 * The workers of one connection, one per queue that has handlers. Nest starts them when every `onApplicationBootstrap` of the application
 * has returned, unless the role is `producer`, and stops them before any `beforeApplicationShutdown` of others is called.
 * States: collecting (until the application is initialised) → ready ⇄ running → closed (by the application's shutdown).
 */
export class TaskWorkers implements OnModuleInit, OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly plans = new Map<string, QueuePlan>();
  private readonly workers = new Map<string, Worker>();
  private state: 'collecting' | 'ready' | 'closed' = 'collecting';

  constructor(
    private readonly jetlane: Jetlane,
    private readonly settings: WorkersSettings,
    private readonly explorer: TaskExplorer,
    private readonly invoker: Invoker,
  ) {}

  /**
   * Adds a handler that no decorator declares, for queues and types that are known at run time only. Call it before the application is
   * initialised: in an `onModuleInit` or earlier.
   * @throws JetlaneError `duplicate-handler`; `invalid-configuration` when it comes too late
   */
  register({ queue, type, ...handler }: DynamicHandler | DynamicBatchHandler): void {
    if (this.state !== 'collecting') {
      throw new JetlaneError(
        'invalid-configuration',
        `a handler for "${type}" of queue "${queue}" comes too late: register it in onModuleInit or earlier`,
        { details: { queue, type } },
      );
    }
    this.plan(queue).add(type, handler, `TaskWorkers.register("${queue}", "${type}")`);
  }

  /** The worker of a queue, once the application is initialised; undefined when the queue has no handler here. */
  worker(queue: string): Worker | undefined {
    return this.workers.get(queue);
  }

  /**
   * A handler of single tasks as the worker calls it: with its contract, guards, pipes, interceptors and filters. Undefined when there is none.
   */
  handler(queue: string, type: string): TaskHandler | undefined {
    const planned = this.plans.get(queue)?.handlers[type];
    return planned && 'handle' in planned ? (planned.handle as TaskHandler) : undefined;
  }

  /** A batch handler as the worker calls it; its `accept` looks at each payload first. Undefined when there is none. */
  batchHandler(queue: string, type: string): BatchCalls | undefined {
    const planned = this.plans.get(queue)?.handlers[type];
    return planned && 'handleBatch' in planned ? (planned as unknown as BatchCalls) : undefined;
  }

  /** Queues that have handlers here. */
  queueNames(): string[] {
    return [...this.workers.keys()];
  }

  /** Starts all workers; those that run already go on. @throws what {@link Worker.start} throws; then none runs */
  async start(): Promise<void> {
    if (this.state === 'closed')
      throw new JetlaneError('connection-closed', 'the application has shut down; its workers do not start again');
    const started = await Promise.allSettled([...this.workers.values()].map((worker) => worker.start()));
    const failed = started.find((result) => result.status === 'rejected');
    if (!failed) return;
    await this.stop(0);
    throw failed.reason;
  }

  /** Stops pulling, lets running handlers finish until the deadline, then hands back what is left. They may be started again. */
  async stop(timeout: Duration = this.settings.shutdownTimeout): Promise<void> {
    await Promise.all([...this.workers.values()].map((worker) => worker.stop({ timeout })));
  }

  /** Called by Nest. Finds the handlers, so that what is wrong with them is told before anything runs. */
  async onModuleInit(): Promise<void> {
    for (const found of await this.explorer.explore(this.settings.connection)) this.addClass(found);
    const registered = this.jetlane.queueNames();
    for (const { queue } of this.plans.values())
      if (!registered.includes(queue)) throw unknownQueue(queue, 'a registered handler', registered);
    for (const plan of this.plans.values()) {
      if (Object.keys(plan.handlers).length > 0) this.workers.set(plan.queue, this.makeWorker(plan));
      // A worker without handlers would only spoil tasks that other processes can run.
      else nestLog.warn({ queue: plan.queue }, 'queue:no-handlers');
    }
    this.state = 'ready';
  }

  /** Called by Nest, last of all. */
  async onApplicationBootstrap(): Promise<void> {
    if (this.jetlane.role !== 'producer' && this.state === 'ready') await this.start();
  }

  /** Called by Nest, first of all. */
  async beforeApplicationShutdown(): Promise<void> {
    this.state = 'closed';
    await this.stop();
  }

  private addClass(found: FoundClass): void {
    const registered = this.jetlane.queueNames();
    if (!registered.includes(found.queue)) {
      if (this.explorer.provides(getQueueToken(found.queue, this.settings.connection))) throw overriddenQueue(found.queue, found.label);
      throw unknownQueue(found.queue, found.label, registered);
    }
    const plan = this.plan(found.queue);
    plan.tell(found);
    plan.listeners.push(...found.listeners);
    for (const handler of found.handlers) {
      const planned = this.planned(handler);
      for (const type of handler.types) plan.add(type, planned, handler.label);
    }
  }

  private planned({ kind, place, contract, options }: FoundHandler): PlannedHandler {
    const { asyncContext } = this.settings;
    if (kind === 'task') return { ...options, handle: this.invoker.handler(place, contract, asyncContext) };
    const given = options as BatchHandlerOptions;
    return { ...given, ...batchHandler(this.invoker, place, { contract, asyncContext, groupBy: given.groupBy }) };
  }

  private plan(queue: string): QueuePlan {
    const plan = this.plans.get(queue) ?? new QueuePlan(queue);
    this.plans.set(queue, plan);
    return plan;
  }

  private makeWorker(plan: QueuePlan): Worker {
    const worker = new Worker(this.jetlane.connection, { ...plan.workerOptions(), log: nestLog });
    for (const listener of plan.listeners) listen(worker, listener);
    return worker;
  }
}

const eventKey = <E extends TaskEventName>(event: E) =>
  (event === 'lease-lost' ? 'lease:lost' : `task:${event}`) as Exclude<Parameters<Worker['on']>[0], `lane:${string}`>;

function listen(worker: Worker, { event, types, place }: FoundListener): void {
  worker.on(eventKey(event), (told: TaskEventOf<TaskEventName>) => {
    if (types && !types.has(told.type)) return undefined;
    const instance = place.wrapper.instance as Readonly<Record<string, (told: unknown) => unknown>>;
    // A promise goes back to the worker, which logs it when it fails.
    return instance[place.method]!(told);
  });
}
