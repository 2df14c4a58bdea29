import { JetlaneError } from '@jetlane/protocol';
import type { ItemOutcome } from '@jetlane/worker';
import { applyDecorators, SetMetadata } from '@nestjs/common';
import { ENTRY_PROVIDER_WATERMARK } from '@nestjs/common/constants.js';
import { isContract, type TaskContract, type TaskPayload, type TaskReturn } from '../contracts/define-task.js';
import { DEFAULT_CONNECTION } from '../module/tokens.js';
import {
  addMark,
  type BatchHandlerOptions,
  type DynamicTaskQueue,
  type FromContainer,
  HANDLER_MARKS,
  type HandlerMark,
  LISTENER_MARKS,
  type ListenerMark,
  QUEUE_MARKS,
  type QueueMark,
  type TaskEventName,
  type TaskEventOf,
  type TaskHandlerOptions,
  type TaskQueueOptions,
} from './metadata.js';

type AsyncOptions<T> = T | FromContainer<T>;
type QueueOptions = TaskQueueOptions | (FromContainer<TaskQueueOptions> & Pick<TaskQueueOptions, 'connection'>);

/** A method that a typed decorator may stand on; what it accepts or returns beyond that makes a compile error. */
type MethodOf<F> = <M extends F>(target: object, key: string | symbol, descriptor: TypedPropertyDescriptor<M>) => void;

/** A handler of a contract: the payload comes first, the result is one that its schema takes. */
type HandlerOf<C extends TaskContract> = (data: TaskPayload<C>, ...rest: never[]) => TaskReturn<C> | Promise<TaskReturn<C>>;

/** A batch handler of a contract. */
type BatchHandlerOf<C extends TaskContract> = (
  data: TaskPayload<C>[],
  ...rest: never[]
) => readonly ItemOutcome<TaskReturn<C>>[] | Promise<readonly ItemOutcome<TaskReturn<C>>[]>;

/**
 * Marks a provider whose methods handle tasks of a queue. Several classes may share a queue, and a class may
 * have several queues: its handlers then take tasks of each.
 * @param queue its name, registered by `JetlaneModule.registerQueue`; or a factory that gives name and options
 * @param options the worker's, as they are or made from the container
 */
export function TaskQueue(queue: string, options?: QueueOptions): ClassDecorator;
export function TaskQueue(queue: DynamicTaskQueue): ClassDecorator;
export function TaskQueue(queue: string | DynamicTaskQueue, options: QueueOptions = {}): ClassDecorator {
  if (!queue) throw misused('TaskQueue', `needs the name of a queue, or a factory; got ${JSON.stringify(queue)}`);
  const given: QueueOptions = typeof queue === 'string' ? options : queue;
  const { connection = DEFAULT_CONNECTION } = given;
  const mark: QueueMark = { queue: typeof queue === 'string' ? queue : undefined, connection, options: given };
  // The watermark gives the class what controllers have: guards and the like that are request-scoped make it so too.
  return applyDecorators(SetMetadata(ENTRY_PROVIDER_WATERMARK, true), (target: object) => addMark(QUEUE_MARKS, mark, target));
}

/**
 * Marks a method that handles tasks of a type. Without parameter decorators it is called with the payload and the {@link TaskContext}.
 * With a contract it must take the contract's payload first and return its result; it then handles the contract's queue only.
 * @param type a task type, or a contract
 * @param options retry policy and timeout, as they are or made from the container
 */
export function TaskHandler<C extends TaskContract>(type: C, options?: AsyncOptions<TaskHandlerOptions>): MethodOf<HandlerOf<C>>;
export function TaskHandler(type: string, options?: AsyncOptions<TaskHandlerOptions>): MethodDecorator;
export function TaskHandler(type: string | TaskContract, options: AsyncOptions<TaskHandlerOptions> = {}): MethodDecorator {
  return markHandler('task', type, options);
}

/**
 * Marks a method that handles many tasks of a type at once. Without parameter decorators it is called with the list of payloads and the
 * {@link BatchContext}. It returns one {@link ItemOutcome} per payload, in their order. A payload that does not fit the contract, or a schema of
 * a parameter, costs only its own task: it never joins a batch.
 * @param type a task type, or a contract
 * @param options how batches are gathered (`size` is required), retry policy of each task, timeout of the batch; as they are or made from the
 * container
 */
export function BatchHandler<C extends TaskContract>(type: C, options: AsyncOptions<BatchHandlerOptions>): MethodOf<BatchHandlerOf<C>>;
export function BatchHandler(type: string, options: AsyncOptions<BatchHandlerOptions>): MethodDecorator;
export function BatchHandler(type: string | TaskContract, options: AsyncOptions<BatchHandlerOptions>): MethodDecorator {
  return markHandler('batch', type, options);
}

function markHandler(kind: HandlerMark['kind'], type: string | TaskContract, options: HandlerMark['options']): MethodDecorator {
  const name = kind === 'task' ? 'TaskHandler' : 'BatchHandler';
  // A contract that is undefined comes from a file that imports this one, as a rule.
  if (!type) throw misused(name, `needs a task type, or a contract; got ${JSON.stringify(type)}`);
  const contract = isContract(type) ? type : undefined;
  const types = isContract(type) ? [...type.handledTypes.keys()] : [type];
  const mark: HandlerMark = { kind, queue: contract?.queue, types, contract, options };
  return (_target, key, descriptor) => addMark(HANDLER_MARKS, mark, methodOf(name, key, descriptor));
}

/**
 * Marks a method that hears of tasks which this process has run: `@OnTask('dead')`. Events are local to the process; what it throws is
 * logged and changes nothing.
 * @param filter only tasks of this type, or of this contract
 */
export function OnTask<E extends TaskEventName>(
  event: E,
  filter: { readonly type?: string | TaskContract } = {},
): MethodOf<(event: TaskEventOf<E>) => unknown> {
  const { type } = filter;
  const types = type === undefined ? undefined : new Set(isContract(type) ? type.handledTypes.keys() : [type]);
  const mark: ListenerMark = { event, types };
  return (_target, key, descriptor) => addMark(LISTENER_MARKS, mark, methodOf('OnTask', key, descriptor));
}

/** A compiler that was not told otherwise makes standard decorators, which get a context where the others get the method's name. */
function methodOf(decorator: string, key: unknown, descriptor: PropertyDescriptor | undefined): object {
  if (typeof descriptor?.value === 'function') return descriptor.value as object;
  if (typeof key === 'object') {
    throw misused(
      decorator,
      'was compiled as a standard decorator; NestJS needs "experimentalDecorators" and "emitDecoratorMetadata" in tsconfig.json',
    );
  }
  throw misused(decorator, `stands on ${String(key)}, which is no method; write a method instead of a property`);
}

const misused = (decorator: string, what: string): JetlaneError => new JetlaneError('invalid-configuration', `@${decorator} ${what}`);
