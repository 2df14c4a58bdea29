import { BatchedQueue, type BatchedQueueOptions } from '@jetlane/batching';
import {
  type DynamicModule,
  type FactoryProvider,
  Inject,
  Injectable,
  Module,
  type ModuleMetadata,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
} from '@nestjs/common';

/** Options of a queue, made with what the container has: a processor that calls services, a connection for its storage. */
export interface BatchedQueueAsyncOptions<T, R = void> {
  /** The queue's name: what it is injected by. */
  readonly name: string;
  /** Modules that export what `inject` names. Default: none. */
  readonly imports?: ModuleMetadata['imports'];
  /** Tokens whose providers `useFactory` gets, in this order. Default: none. */
  readonly inject?: FactoryProvider['inject'];
  readonly useFactory: FactoryProvider<Omit<BatchedQueueOptions<T, R>, 'name'>>['useFactory'];
}

/** Token of the queue of this name. */
export const batchedQueueToken = (name: string): string => `jetlane:batched-queue:${name}`;

/** Injects the queue of this name: `@InjectBatchedQueue('mail') private readonly mail: BatchedQueue<Mail>`. */
export const InjectBatchedQueue = (name: string): ParameterDecorator & PropertyDecorator => Inject(batchedQueueToken(name));

/** Opens the storage of a queue when the application starts, and drains and closes the queue when it shuts down. */
@Injectable()
class QueueLifecycle implements OnApplicationBootstrap, OnApplicationShutdown {
  constructor(private readonly queue: BatchedQueue<unknown, unknown>) {}

  async onApplicationBootstrap(): Promise<void> {
    await this.queue.loadState();
  }

  async onApplicationShutdown(): Promise<void> {
    await this.queue[Symbol.asyncDispose]();
  }
}

/** Batched queues as providers; the application's shutdown hooks end them. */
@Module({})
// biome-ignore lint/complexity/noStaticOnlyClass: a dynamic module of NestJS is one
export class BatchingModule {
  /** A queue whose options need nothing from the container. */
  static register<T, R = void>(options: BatchedQueueOptions<T, R>): DynamicModule {
    const { name, ...rest } = options;
    return BatchingModule.registerAsync<T, R>({ name, useFactory: () => rest });
  }

  /** A queue whose options are made from other providers. */
  static registerAsync<T, R = void>({ name, imports = [], inject = [], useFactory }: BatchedQueueAsyncOptions<T, R>): DynamicModule {
    const token = batchedQueueToken(name);
    const options = `${token}:options`;
    const make = (given: Omit<BatchedQueueOptions<T, R>, 'name'>) => new BatchedQueue<T, R>({ ...given, name });
    return {
      module: BatchingModule,
      imports,
      providers: [
        { provide: options, inject, useFactory },
        { provide: token, inject: [options], useFactory: make },
        {
          provide: `${token}:lifecycle`,
          inject: [token],
          useFactory: (queue: BatchedQueue<unknown, unknown>) => new QueueLifecycle(queue),
        },
      ],
      exports: [token],
    };
  }
}
