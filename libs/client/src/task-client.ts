import { type Connection, leaderGet, TaskStore } from '@jetlane/jetstream';
import { type Duration, formatTaskId, isFinal, JetlaneError, keySource, parseTaskId, type QueueDefinition, toMs } from '@jetlane/protocol';
import { startSend } from '@jetlane/telemetry';
import { enqueueOnce, publishFirst } from './idempotency.js';
import { firstHop, type NewTask, type PreparedTask, prepareTask, type Receipt, taskHeaders } from './new-task.js';
import { QueueDirectory } from './queue-directory.js';
import { type QueueStats, readQueueStats } from './queue-stats.js';
import { RunningTasks } from './running-tasks.js';
import { lookUp, type TaskStatus } from './status.js';

/** A task of {@link TaskClient.enqueueMany}. */
export interface QueuedTask extends NewTask {
  readonly queue: string;
}

export interface EnqueueManyOptions {
  /** Told of every stored task; `index` counts the input from 0. */
  readonly onReceipt?: (receipt: Receipt, index: number) => void;
  /** Told of every task that could not be stored; the rest go on. */
  readonly onError?: (error: unknown, index: number) => void;
  /** Stops reading the input. */
  readonly signal?: AbortSignal;
}

/** What became of many tasks. */
export interface EnqueueSummary {
  readonly accepted: number;
  readonly duplicates: number;
  readonly failed: number;
}

/** Enqueues tasks and looks after them. One per connection is enough; it may be used from everywhere at once. */
export class TaskClient {
  private readonly store: TaskStore;
  private readonly directory: QueueDirectory;
  private readonly running: RunningTasks;
  private readonly nextKey = keySource();

  constructor(private readonly connection: Connection) {
    this.store = new TaskStore(connection);
    this.directory = new QueueDirectory(connection);
    this.running = new RunningTasks(connection);
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
    const definition = this.directory.known(queue) ?? (await this.directory.get(queue));
    const prepared = prepareTask(queue, task, task.key ?? this.nextKey(), definition);
    const send = startSend(prepared, task);
    try {
      const receipt = task.key === undefined ? await this.publishNew(prepared, send) : await this.publishOnce(prepared, send);
      send.end();
      return receipt;
    } catch (error) {
      send.end(error);
      throw error;
    }
  }

  /**
   * Stores any number of tasks at the speed of the wire, with bounded memory: input is read only as the server confirms.
   * One bad task never stops the others.
   */
  async enqueueMany(tasks: AsyncIterable<QueuedTask> | Iterable<QueuedTask>, options: EnqueueManyOptions = {}): Promise<EnqueueSummary> {
    const summary = { accepted: 0, duplicates: 0, failed: 0 };
    const done = new Pending();
    const submit = (task: QueuedTask, index: number) => {
      this.enqueue(task.queue, task).then(
        (receipt) => {
          summary.accepted++;
          if (receipt.duplicate) summary.duplicates++;
          options.onReceipt?.(receipt, index);
          done.remove();
        },
        (error: unknown) => {
          summary.failed++;
          options.onError?.(error, index);
          done.remove();
        },
      );
    };
    let index = 0;
    for await (const task of tasks) {
      if (options.signal?.aborted) break;
      done.count++;
      submit(task, index++);
      if (this.connection.publisher.full) await this.connection.publisher.room();
      if (done.count >= MOST_PENDING) await done.below(MOST_PENDING);
    }
    await done.below(1);
    return summary;
  }

  /**
   * All that is known about a task, in one round trip whatever the backlog.
   * @throws JetlaneError `task-not-found`, `invalid-argument`
   */
  async status(id: string): Promise<TaskStatus> {
    this.running.start();
    return lookUp(this.store, parseTaskId(id), this.running);
  }

  /**
   * Waits until a task is completed, cancelled or dead. Nothing is polled: a record
   * on its way to the stream passes whoever listens on its subject.
   * @throws JetlaneError `task-not-found`; `request-timeout` when the task takes longer (default: waits for ever)
   */
  async result(id: string, options: { readonly timeout?: Duration; readonly signal?: AbortSignal } = {}): Promise<TaskStatus> {
    const { queue, key } = parseTaskId(id);
    const timeoutMs = options.timeout === undefined ? undefined : toMs(options.timeout, 'timeout');
    return new Promise<TaskStatus>((resolve, reject) => {
      const failed = (error: unknown) => {
        // A broken link is not an answer: the reconnect looks again.
        if (!(error instanceof JetlaneError && error.retryable)) finish(() => reject(error));
      };
      const look = () => void this.status(id).then((status) => isFinal(status.state) && finish(() => resolve(status)), failed);
      const noticed = () => void this.recordStored(queue, key).then(look, failed);
      const expired = () =>
        finish(() =>
          reject(
            new JetlaneError('request-timeout', `task "${id}" did not finish within ${timeoutMs} ms; it goes on`, { details: { id } }),
          ),
        );
      const aborted = () => finish(() => reject(options.signal?.reason));
      const timer = timeoutMs === undefined ? undefined : setTimeout(expired, timeoutMs);
      const unsubscribe = this.connection.subscribe(this.connection.names.state(queue, key), noticed);
      const unlisten = this.connection.onState((state) => state === 'connected' && look());
      const finish = (settle: () => void) => {
        clearTimeout(timer);
        unsubscribe();
        unlisten();
        options.signal?.removeEventListener('abort', aborted);
        settle();
      };
      if (options.signal?.aborted) return aborted();
      options.signal?.addEventListener('abort', aborted, { once: true });
      // The subscription must stand before the first look, or a record stored in between would be missed.
      this.connection.flush().then(look, look);
    });
  }

  /** Depths and ages, straight from the server: ten small requests per queue. @throws UnknownQueueError */
  async stats(queue?: string): Promise<QueueStats[]> {
    await this.directory.open();
    const names = queue === undefined ? this.queueNames() : [(await this.directory.get(queue)).name];
    return Promise.all(names.map((name) => readQueueStats(this.connection, name)));
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

  /** A listener sees a record before the stream has stored it: waits until the stream's leader shows a final one, or gives up. */
  private async recordStored(queue: string, key: string): Promise<void> {
    for (let pause = 1; pause < 2000; pause *= 2) {
      const { record } = await this.store.record(queue, key, leaderGet);
      if (record && isFinal(record.state)) return;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  private async publishNew(
    task: PreparedTask,
    trace: { traceparent: string | undefined; tracestate: string | undefined },
  ): Promise<Receipt> {
    const headers = taskHeaders(task, trace);
    if (task.delayMs > 0) await publishFirst(this.connection, this.store, task, headers);
    else await this.connection.publish(this.connection.names.task(task.queue, task.lane, task.key), task.data, firstHop(task.key, headers));
    return receiptOf(task, task.delayMs > 0 ? 'scheduled' : 'queued', false);
  }

  private async publishOnce(
    task: PreparedTask,
    trace: { traceparent: string | undefined; tracestate: string | undefined },
  ): Promise<Receipt> {
    const { duplicate, record } = await enqueueOnce(this.connection, this.store, task, (hash) => taskHeaders(task, trace, hash));
    const fresh = task.delayMs > 0 ? 'scheduled' : 'queued';
    const receipt = receiptOf(task, record.state === 'accepted' ? fresh : record.state, duplicate);
    return record.lane ? { ...receipt, lane: record.lane } : receipt;
  }
}

/** Tasks between input and confirmation in one enqueueMany; beside the publisher's window, keys in flight count too. */
const MOST_PENDING = 8192;

const receiptOf = ({ queue, key, lane }: PreparedTask, state: Receipt['state'], duplicate: boolean): Receipt => ({
  id: formatTaskId(queue, key),
  queue,
  lane,
  state,
  duplicate,
});

/** Counts what is under way and lets one caller wait until it is few. */
class Pending {
  count = 0;
  private limit = 0;
  private wake: (() => void) | undefined;

  remove(): void {
    this.count--;
    if (this.wake && this.count < this.limit) {
      this.wake();
      this.wake = undefined;
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
