import type {
  CancelAnswer,
  EnqueueManyOptions,
  EnqueueSummary,
  GroupCancellation,
  GroupCancelOptions,
  NewTask,
  QueuedTask,
  QueueStats,
  Receipt,
  TaskClient,
  TaskStatus,
} from '@jetlane/client';
import type { Connection } from '@jetlane/jetstream';
import { type Duration, formatTaskId, JetlaneError, parseTaskId, type QueueDefinition } from '@jetlane/protocol';
import { isContract, type TaskContract, type TaskInput, type TaskResult } from '../contracts/define-task.js';
import { checkValue, refusedPayload } from '../contracts/validate.js';
import { checkedTasks } from './checked-tasks.js';
import { checkTaskOptions, type TaskOptions } from './task-options.js';

declare const RESULT: unique symbol;

/** A receipt that remembers the type of the task's result. */
export interface TaskReceipt<R = unknown> extends Receipt {
  readonly [RESULT]?: R;
}

/** How many tasks of one contract are enqueued: what all of them share, and who is told. */
export type ManyOptions = EnqueueManyOptions & Pick<NewTask, 'lane' | 'delay' | 'group'>;

/** How long to wait for a result. */
export interface ResultOptions {
  /** Default: for ever. */
  readonly timeout?: Duration;
  /** Stops waiting; its reason is thrown. */
  readonly signal?: AbortSignal;
}

/** A queue to enqueue into and to ask about its tasks. Get it by `@InjectQueue(name)`. */
export class Queue {
  readonly name: string;

  constructor(
    /** The definition that holds. */
    readonly definition: QueueDefinition,
    private readonly client: TaskClient,
    /** The link that it works over. */
    readonly connection: Connection,
  ) {
    this.name = definition.name;
  }

  /**
   * Stores a task; resolves when the server has confirmed it. A contract checks the payload first; what is stored is the payload
   * as given, so that transforms and defaults of the schema apply once, where the task is handled.
   * @param type a task type, or a contract of this queue; undefined where the queue has a default type
   * @throws JetlaneError `payload-mismatch` with `details.issues`, `invalid-argument`; QueueFullError, IdempotencyConflictError and the
   * other errors of {@link TaskClient.enqueue}
   */
  enqueue<C extends TaskContract>(type: C, data: TaskInput<C>, options?: TaskOptions): Promise<TaskReceipt<TaskResult<C>>>;
  enqueue(type: string | undefined, data?: unknown, options?: TaskOptions): Promise<Receipt>;
  async enqueue(type: TaskContract | string | undefined, data?: unknown, options: TaskOptions = {}): Promise<Receipt> {
    checkTaskOptions(options);
    if (!isContract(type)) return this.client.enqueue(this.name, { ...options, data, ...(type === undefined ? {} : { type }) });
    this.assertOwn(type);
    await checkValue(type.schema, data, refusedPayload(this.name, type.type));
    return this.client.enqueue(this.name, { ...options, data, type: type.wireType });
  }

  /**
   * Stores any number of tasks at the speed of the wire, with bounded memory. One bad task never stops the others: it is told to
   * `onError` with its place in the input and counted as failed.
   */
  enqueueMany<C extends TaskContract>(
    contract: C,
    payloads: AsyncIterable<TaskInput<C>> | Iterable<TaskInput<C>>,
    options?: ManyOptions,
  ): Promise<EnqueueSummary>;
  enqueueMany(tasks: AsyncIterable<NewTask> | Iterable<NewTask>, options?: EnqueueManyOptions): Promise<EnqueueSummary>;
  async enqueueMany(
    first: TaskContract | AsyncIterable<NewTask> | Iterable<NewTask>,
    second: AsyncIterable<unknown> | Iterable<unknown> | EnqueueManyOptions = {},
    options: ManyOptions = {},
  ): Promise<EnqueueSummary> {
    if (!isContract(first)) return this.client.enqueueMany(inQueue(this.name, first), second as EnqueueManyOptions);
    this.assertOwn(first);
    const checked = checkedTasks(first, second as Iterable<unknown>, options);
    const summary = await this.client.enqueueMany(checked.tasks, checked.listeners);
    return { ...summary, failed: summary.failed + checked.refused() };
  }

  /**
   * All that is known about a task.
   * @param task a receipt, a full id or only the key
   * @throws JetlaneError `task-not-found`, `invalid-argument`
   */
  async status<R>(task: TaskReceipt<R> | string): Promise<TaskStatus & { readonly result?: R }> {
    return (await this.client.status(this.idOf(task))) as TaskStatus & { readonly result?: R };
  }

  /**
   * Waits until a task is completed, cancelled or dead; look at `state` which of them it is.
   * @throws JetlaneError `task-not-found`; `request-timeout` when it takes longer than `timeout`
   */
  async result<R>(task: TaskReceipt<R> | string, options: ResultOptions = {}): Promise<TaskStatus & { readonly result?: R }> {
    return (await this.client.result(this.idOf(task), options)) as TaskStatus & { readonly result?: R };
  }

  /**
   * Cancels a task: it does not run any more, or, if it does, its signal fires. May be repeated.
   * @param options `reason` stands in the task's record, at most 500 characters
   * @throws JetlaneError `task-not-found`, `invalid-argument`
   */
  async cancel(task: Receipt | string, options: { readonly reason?: string } = {}): Promise<CancelAnswer> {
    return this.client.cancel(this.idOf(task), options);
  }

  /** Cancels all tasks of a group, waiting and running ones. @throws JetlaneError `request-timeout` when it takes longer than `timeout` */
  async cancelGroup(group: string, options: GroupCancelOptions = {}): Promise<GroupCancellation> {
    return this.client.cancelGroup(this.name, group, options);
  }

  /** Depths and ages, straight from the server. For overviews: ten small requests. */
  async stats(): Promise<QueueStats> {
    return (await this.client.stats(this.name))[0]!;
  }

  private idOf(task: Receipt | string): string {
    const id = typeof task === 'string' ? task : task.id;
    if (!id.includes('.')) return formatTaskId(this.name, id);
    if (parseTaskId(id).queue === this.name) return id;
    throw new JetlaneError('invalid-argument', `task "${id}" is not of queue "${this.name}"; ask the queue that it was enqueued into`, {
      details: { id, queue: this.name },
    });
  }

  private assertOwn(contract: TaskContract): void {
    if (contract.queue === this.name) return;
    throw new JetlaneError(
      'invalid-argument',
      `task type "${contract.type}" belongs to queue "${contract.queue}", not to "${this.name}"; inject that queue`,
      { details: { type: contract.type, queue: this.name } },
    );
  }
}

async function* inQueue(queue: string, tasks: AsyncIterable<NewTask> | Iterable<NewTask>): AsyncGenerator<QueuedTask> {
  for await (const task of tasks) yield { ...task, queue };
}
