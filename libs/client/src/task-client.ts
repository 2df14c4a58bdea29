import { type BulkStream, type Connection, TaskStore } from '@jetlane/jetstream';
import {
  type Duration,
  JetlaneError,
  keySource,
  type Lane,
  parseTaskId,
  type QueueDefinition,
  QueueFullError,
  toMs,
} from '@jetlane/protocol';
import { type ActiveSend, startSend } from '@jetlane/telemetry';
import { type CancelAnswer, cancelOrder, cancelTask } from './cancel.js';
import { cancelGroup, type GroupCancellation } from './cancel-group.js';
import { DeadLetterAdmin } from './dead-letters.js';
import { LaneDropper } from './drop-oldest.js';
import { enqueueOnce, type PublishTask, publishFirst } from './idempotency.js';
import { firstHop, type NewTask, type PreparedTask, prepareTask, type Receipt } from './new-task.js';
import { QueueDirectory } from './queue-directory.js';
import { type QueueStats, readQueueStats } from './queue-stats.js';
import { ResultWait } from './result-wait.js';
import { RunningTasks } from './running-tasks.js';
import { lookUp, type TaskStatus } from './status.js';
import { RecordHead, type TaskEventOptions, TaskEvents } from './task-events.js';
import { isPlain, receiptOf, type SendListener, TaskPublication } from './task-publication.js';

/** A task of {@link TaskClient.enqueueMany}. */
export interface QueuedTask extends NewTask {
  readonly queue: string;
}

/** Whom {@link TaskClient.enqueueMany} tells of single tasks, and how to stop it. */
export interface EnqueueManyOptions {
  /** Told of every stored task; `index` counts the input from 0. */
  readonly onReceipt?: (receipt: Receipt, index: number) => void;
  /** Told of every task that could not be stored; the rest go on. */
  readonly onError?: (error: unknown, index: number) => void;
  /** Stops reading the input. */
  readonly signal?: AbortSignal;
}

/** Why the tasks of a group are cancelled, and how long that may take. */
export interface GroupCancelOptions {
  /** Stands in the record of each task. Default: none. */
  readonly reason?: string;
  /** Default 30 s. */
  readonly timeout?: Duration;
}

/** What became of many tasks. */
export interface EnqueueSummary {
  readonly accepted: number;
  readonly duplicates: number;
  readonly failed: number;
}

/** Enqueues tasks and looks after them. One per connection is enough; it may be used from everywhere at once. */
export class TaskClient {
  /** Tasks that were given up: list, redrive, discard, export. */
  readonly deadLetters: DeadLetterAdmin;
  private readonly store: TaskStore;
  private readonly directory: QueueDirectory;
  private readonly running: RunningTasks;
  private readonly head: RecordHead;
  private readonly nextKey = keySource();
  private readonly droppers = new Map<string, LaneDropper>();
  private readonly laneStreams = new Map<string, Partial<Record<Lane, BulkStream>>>();

  constructor(private readonly connection: Connection) {
    this.deadLetters = new DeadLetterAdmin(connection);
    this.store = new TaskStore(connection);
    this.directory = new QueueDirectory(connection);
    this.running = new RunningTasks(connection);
    this.head = new RecordHead(connection);
  }

  /** Learns the queues. Optional: the first call that needs them does it. */
  start(): Promise<void> {
    return this.directory.open();
  }

  /**
   * Stores a task; resolves when the server has confirmed it. Without a key nothing is written but the task itself.
   * @throws UnknownQueueError, QueueFullError, IdempotencyConflictError, JetlaneError `invalid-argument`,
   * `payload-too-large`, `publish-timeout`, `publisher-overloaded`
   */
  async enqueue(queue: string, task: NewTask): Promise<Receipt> {
    return this.submit(this.directory.known(queue) ?? (await this.directory.get(queue)), task);
  }

  /**
   * Stores any number of tasks at the speed of the wire, with bounded memory: input is read only as the server confirms.
   * One bad task never stops the others. Rejects with what the input, or one of the two listeners, threw; what was read by then
   * is stored all the same.
   */
  async enqueueMany(tasks: AsyncIterable<QueuedTask> | Iterable<QueuedTask>, options: EnqueueManyOptions = {}): Promise<EnqueueSummary> {
    const summary = { accepted: 0, duplicates: 0, failed: 0 };
    const done = new Pending();
    const { onReceipt, onError } = options;
    const failed = (error: unknown, position: number) => {
      summary.failed++;
      if (onError) done.tell(onError, error, position);
      done.remove();
    };
    const stored = (receipt: Receipt, position: number) => {
      summary.accepted++;
      if (receipt.duplicate) summary.duplicates++;
      if (onReceipt) done.tell(onReceipt, receipt, position);
      done.remove();
    };
    let index = 0;
    const listener: SendListener = { stored, failed };
    try {
      for await (const task of tasks) {
        if (options.signal?.aborted || done.failed) break;
        done.count++;
        this.begin(task, index++, listener);
        if (this.connection.publisher.full) await this.connection.publisher.room();
        if (done.count >= MOST_PENDING) await done.below(MOST_PENDING);
      }
    } finally {
      await done.below(1);
    }
    if (done.failed) throw done.failed.error;
    return summary;
  }

  /**
   * All that is known about a task, in one round trip whatever the backlog.
   * @throws JetlaneError `task-not-found`, `invalid-argument`; `no-responders`, to be tried again, while the lanes of its queue are missing
   */
  async status(id: string): Promise<TaskStatus> {
    await this.directory.checkTopology();
    this.running.start();
    return lookUp(this.store, parseTaskId(id), this.running, (queue) => this.directory.has(queue));
  }

  /**
   * Waits until a task is completed, cancelled or dead. Nothing is polled: a record
   * on its way to the stream passes whoever listens on its subject.
   * @throws JetlaneError `task-not-found`; `request-timeout` when the task takes longer (default: waits for ever)
   */
  async result(id: string, options: { readonly timeout?: Duration; readonly signal?: AbortSignal } = {}): Promise<TaskStatus> {
    const timeoutMs = options.timeout === undefined ? undefined : toMs(options.timeout, 'timeout');
    const wait = new ResultWait(this.connection, this.store, parseTaskId(id), () => this.status(id));
    return wait.begin({ timeoutMs, signal: options.signal });
  }

  /**
   * Cancels a task: it does not run any more, or, if it does, its signal fires. May be repeated. The answers are explained at
   * {@link CancelAnswer}; the record and `result()` say `cancelled` with the reason (at most 500 characters).
   * @throws UnknownQueueError, JetlaneError `task-not-found`, `invalid-argument`
   */
  async cancel(id: string, options: { readonly reason?: string } = {}): Promise<CancelAnswer> {
    const taskId = parseTaskId(id);
    return cancelTask(this.connection, this.store, taskId, cancelOrder(await this.directory.get(taskId.queue), options.reason));
  }

  /**
   * Cancels the tasks of a group that are waiting, scheduled or running now; what is enqueued later runs. Reads through all
   * that the queue holds, about 40,000 tasks a second; beyond the timeout (default 30 s) `complete` is false: call again.
   * @throws UnknownQueueError, JetlaneError `invalid-argument`
   */
  async cancelGroup(queue: string, group: string, options: GroupCancelOptions = {}): Promise<GroupCancellation> {
    const definition = await this.directory.get(queue);
    if (typeof group !== 'string' || group === '')
      throw new JetlaneError('invalid-argument', 'expected the name of a group', { details: { field: 'group' } });
    const timeoutMs = toMs(options.timeout ?? '30s', 'timeout');
    const order = { ...cancelOrder(definition, options.reason), timeoutMs };
    return cancelGroup(this.connection, this.store, { queue: definition.name, group }, order);
  }

  /** Depths and ages, straight from the server: ten small requests per queue. @throws UnknownQueueError */
  async stats(queue?: string): Promise<QueueStats[]> {
    await this.directory.open();
    const names = queue === undefined ? this.queueNames() : [(await this.directory.get(queue)).name];
    return Promise.all(names.map((name) => readQueueStats(this.connection, name)));
  }

  /** Events of tasks: what was written down about them, from now on or from a position. @throws JetlaneError `invalid-argument` */
  events(options: TaskEventOptions = {}): Promise<TaskEvents> {
    return TaskEvents.open(this.connection, this.head, options);
  }

  /** Names of the defined queues, as far as known. */
  queueNames(): string[] {
    return this.directory.all().map(({ name }) => name);
  }

  /** The definition of a queue. @throws UnknownQueueError */
  definition(queue: string): Promise<QueueDefinition> {
    return this.directory.get(queue);
  }

  /** Stops listening; the connection stays open. */
  async close(): Promise<void> {
    this.running.stop();
    this.directory.close();
  }

  /** What is wrong with a task is told like any other failure. */
  private begin(task: QueuedTask, index: number, listener: SendListener): void {
    try {
      const definition = this.directory.known(task?.queue);
      if (definition && isPlain(task)) return this.send(definition, task, index, listener);
      (definition ? this.submit(definition, task) : this.enqueue(task?.queue, task)).then(
        (receipt) => listener.stored(receipt, index),
        (error: unknown) => listener.failed(error, index),
      );
    } catch (error) {
      listener.failed(error, index);
    }
  }

  /** The ordinary task: one message into its lane, and nothing else. No promise is made for it. */
  private send(definition: QueueDefinition, task: NewTask, index: number, listener: SendListener): void {
    const prepared = prepareTask(definition.name, task, this.nextKey(), definition);
    const trace = startSend(prepared, task);
    const room = this.dropperOf(definition, prepared.lane);
    const publish = room && ((task: PreparedTask, headers: string) => room.retry(() => this.publishTask(task, headers)));
    const subject = this.connection.names.task(prepared.queue, prepared.lane, prepared.key);
    this.laneStream(prepared).post(new TaskPublication(subject, { task: prepared, trace, index, listener, publish }));
  }

  private publishTask({ queue, lane, key, data }: PreparedTask, headers: string): Promise<unknown> {
    return this.connection.publish(this.connection.names.task(queue, lane, key), data, headers);
  }

  /** Publishes; in a full lane of a queue that drops the oldest, again when there is room. */
  private publisherFor(definition: QueueDefinition): PublishTask {
    return async (task, headers) => {
      const publish = () => this.publishTask(task, headers);
      const room = this.dropperOf(definition, task.lane);
      return publish().catch((error: unknown) => {
        if (room && error instanceof QueueFullError) return room.retry(publish);
        throw error;
      });
    };
  }

  private dropperOf(definition: QueueDefinition, lane: Lane): LaneDropper | undefined {
    if (definition.dropBehavior !== 'drop-oldest') return undefined;
    const name = `${definition.name}.${lane}`;
    const known = this.droppers.get(name);
    if (known?.definition === definition) return known;
    const dropper = new LaneDropper(this.connection, this.store, definition, lane);
    this.droppers.set(name, dropper);
    return dropper;
  }

  private laneStream({ queue, lane }: PreparedTask): BulkStream {
    const known = this.laneStreams.get(queue)?.[lane];
    if (known) return known;
    const stream = this.connection.bulkStream(this.connection.names.lane(queue, lane).stream);
    this.laneStreams.set(queue, { ...this.laneStreams.get(queue), [lane]: stream });
    return stream;
  }

  private async submit(definition: QueueDefinition, task: NewTask): Promise<Receipt> {
    if (!task) throw new JetlaneError('invalid-argument', 'expected a task to enqueue, got none', { details: { field: 'task' } });
    if (isPlain(task)) return new Promise((stored, failed) => this.send(definition, task, 0, { stored, failed }));
    const prepared = prepareTask(definition.name, task, task.key ?? this.nextKey(), definition);
    const trace = startSend(prepared, task);
    try {
      const publish = this.publisherFor(definition);
      const receipt =
        task.key === undefined ? await this.setTimer(publish, prepared, trace) : await this.publishOnce(publish, prepared, trace);
      trace.end();
      return receipt;
    } catch (error) {
      trace.end(error);
      throw error;
    }
  }

  private async setTimer(publish: PublishTask, task: PreparedTask, trace: ActiveSend): Promise<Receipt> {
    await publishFirst(publish, this.store, task, firstHop(task, trace));
    return receiptOf(task, 'scheduled', false);
  }

  private async publishOnce(publish: PublishTask, task: PreparedTask, trace: ActiveSend): Promise<Receipt> {
    const { duplicate, record } = await enqueueOnce(publish, this.store, task, (hash) => firstHop(task, trace, hash));
    if (!duplicate) return receiptOf(task, task.delayMs > 0 ? 'scheduled' : 'queued', false);
    // The first task's state and lane, which may be others than those asked for now.
    const first = await this.status(record.id).catch(() => record);
    return { ...receiptOf(task, first.state, true), ...(first.lane ? { lane: first.lane } : {}) };
  }
}

/**
 * Tasks between input and confirmation in one enqueueMany. A round trip needs a few hundred at full speed; beyond that more in
 * flight is only more for the garbage collector to copy.
 */
const MOST_PENDING = 1024;

/** Counts what is under way and lets one caller wait until it is few. */
class Pending {
  count = 0;
  /** What a listener threw first. */
  failed: { readonly error: unknown } | undefined;
  private limit = 0;
  private wake: (() => void) | undefined;

  remove(): void {
    this.count--;
    if (this.wake && this.count < this.limit) {
      this.wake();
      this.wake = undefined;
    }
  }

  /** Calls a listener; what it throws is kept for the caller, since nobody would see it here. */
  tell<T>(listener: (value: T, index: number) => void, value: T, index: number): void {
    try {
      listener(value, index);
    } catch (error) {
      this.failed ??= { error };
    }
  }

  async below(limit: number): Promise<void> {
    if (this.count < limit) return;
    this.limit = limit;
    await new Promise<void>((resolve) => {
      this.wake = resolve;
    });
  }
}
