import type { Duration, LaneMode, Rate } from '@jetlane/protocol';
import type { BatchOptions, HandlerRetryPolicy, WorkerEvents } from '@jetlane/worker';
import type { FactoryProvider } from '@nestjs/common';
import type { TaskContract } from '../contracts/define-task.js';

/** Options made from what the container has: `{ inject: [ConfigService], useFactory: (config) => … }`. */
export type FromContainer<T> = Pick<FactoryProvider<T>, 'inject' | 'useFactory'>;

/** Options of the worker that runs a queue's handlers. Classes of one queue share one worker, so they must not contradict each other. */
export interface TaskQueueOptions {
  /** Name of the connection; stands beside a factory, not in what it makes. Default `default`. */
  readonly connection?: string;
  /** Handlers that may run at once in this process, over all classes of the queue. Default: `workers` of its definition, else 10 or its largest batch. */
  readonly concurrency?: number;
  /** Handlers that may start in this process, such as `{ count: 100, per: '1s' }`, spread evenly. Default: no limit but the queue's. */
  readonly rate?: Rate;
  /** How lanes share the slots. Default: the definition's, else `weighted`. */
  readonly mode?: LaneMode;
  /** Finished tasks whose record is not confirmed yet; beyond it no handler starts. Default 512. */
  readonly settleWindow?: number;
}

/** Options of a task queue that are made from the container, the queue's name among them if one likes. */
export type DynamicTaskQueue = FromContainer<TaskQueueOptions & { readonly queue: string }> & Pick<TaskQueueOptions, 'connection'>;

/** Options of one handler. */
export interface TaskHandlerOptions {
  /** Overrides the queue's retry policy field by field; here `backoff` may be a function, and `retryable` say which errors are final. */
  readonly retry?: HandlerRetryPolicy;
  /** Longest run; then the signal fires and the attempt has failed with `timeout`. Default: no limit. */
  readonly timeout?: Duration;
}

/** Options of one batch handler: {@link TaskHandlerOptions} for the batch, and how it is gathered. */
export interface BatchHandlerOptions extends TaskHandlerOptions, Omit<BatchOptions, 'accept'> {}

/** What may happen to a task in this process; see {@link WorkerEvents} for what each tells. */
export type TaskEventName = 'started' | 'progress' | 'completed' | 'failed' | 'dead' | 'cancelled' | 'interrupted' | 'lease-lost';

/** What a listener of an event gets. */
export type TaskEventOf<E extends TaskEventName> = WorkerEvents[E extends 'lease-lost' ? 'lease:lost' : `task:${Exclude<E, 'lease-lost'>}`];

/** What `@TaskQueue` writes down; a class may have several. */
export interface QueueMark {
  readonly queue: string | undefined;
  readonly connection: string;
  readonly options: TaskQueueOptions | FromContainer<TaskQueueOptions>;
}

/** What `@TaskHandler` or `@BatchHandler` writes down; a method may have several of one kind. */
export interface HandlerMark {
  readonly kind: 'task' | 'batch';
  /** The queue that it is meant for, where the class has several; undefined: all queues of the class. */
  readonly queue: string | undefined;
  readonly types: readonly string[];
  readonly contract: TaskContract | undefined;
  readonly options: AnyHandlerOptions | FromContainer<AnyHandlerOptions>;
}

/** Options of either kind. */
export type AnyHandlerOptions = TaskHandlerOptions | BatchHandlerOptions;

/** What `@OnTask` writes down; a method may have several. */
export interface ListenerMark {
  readonly event: TaskEventName;
  readonly types: ReadonlySet<string> | undefined;
}

/** Keys of the metadata. */
export const QUEUE_MARKS = 'jetlane:queues';
export const HANDLER_MARKS = 'jetlane:handlers';
export const LISTENER_MARKS = 'jetlane:listeners';

/** Adds a mark to those that stand; decorators run from the last line to the first. */
export function addMark<T>(key: string, mark: T, target: object): void {
  const marks = (Reflect.getOwnMetadata(key, target) as readonly T[] | undefined) ?? [];
  Reflect.defineMetadata(key, [mark, ...marks], target);
}

/** The marks of a class or a method. */
export const marksOf = <T>(key: string, target: object): readonly T[] =>
  (Reflect.getMetadata(key, target) as readonly T[] | undefined) ?? [];
