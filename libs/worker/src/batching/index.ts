import type { BatchBroker, BatchHandle, BatchingError, BrokerLink } from '@jetlane/batching';
import { type Connection, countMessages } from '@jetlane/jetstream';
import { type Duration, FatalError, JetlaneError, LANES, type Lane, type QueueDefinition } from '@jetlane/protocol';
import type { WorkerLog } from '../options.js';
import type { TaskContext } from '../task-context.js';
import { Worker } from '../worker.js';

/** Slots that a worker may have. */
const MOST_SLOTS = 10_000;

/** What the storage asks of a `TaskClient` of `@jetlane/client`. */
export interface ItemClient {
  /** Stores an item as a task; resolves when the server has confirmed it. */
  enqueue(queue: string, task: { readonly type: string; readonly data: unknown; readonly lane: Lane }): Promise<{ readonly id: string }>;
  /** Waits for a task's end. */
  result(
    id: string,
    options: { readonly timeout?: Duration },
  ): Promise<{
    readonly state: string;
    readonly attempt: number;
    readonly result?: unknown;
    readonly error?: { readonly message: string };
    readonly reason?: string;
  }>;
  /** Depth of a queue, in a list of one. */
  stats(queue: string): Promise<readonly { readonly depth: number }[]>;
}

/** The engine that {@link jetStreamStorage} keeps items in. */
export interface JetStreamStorageOptions {
  /** Of the caller, who closes it after the queue. */
  readonly connection: Connection;
  /** `new TaskClient(connection)`: stores items and waits for their results. Of the caller, who closes it after the queue. */
  readonly client: ItemClient;
  /** Task type of the items; other clients may produce tasks of it too. Default `batch-item`. */
  readonly type?: string;
  /** False: this process only produces. Default true. */
  readonly consume?: boolean;
  /** How lanes share the deliveries: `strict` keeps the order of priorities, `weighted` lets nothing starve. Default `strict`. */
  readonly mode?: 'strict' | 'weighted';
  /** Definition of the queue if nobody defined it: lease, depth, retention. Default: the engine's. */
  readonly definition?: Omit<QueueDefinition, 'name' | 'retry' | 'mode'>;
  /** How long `result` of a handle waits. Default: for ever. */
  readonly resultTimeout?: Duration;
  /** Told about what the worker survives. Default: silent. */
  readonly log?: WorkerLog;
}

/**
 * The full engine as a storage: `storageKey` is a queue that several processes share. Items are tasks, at least once; priorities are its
 * lanes; retries are server timers, moved by the platform's scheduler; what is given up is a dead letter that can be redriven.
 */
export function jetStreamStorage<T, R = void>(options: JetStreamStorageOptions): BatchBroker<T, R> {
  return new JetStreamBroker<T, R>(options);
}

/** States: new → open → closed; only open and close change them. */
class JetStreamBroker<T, R> implements BatchBroker<T, R> {
  readonly kind = 'broker';
  private readonly type: string;
  private worker: Worker | undefined;
  private link!: BrokerLink<T, R>;
  private queue!: string;

  constructor(private readonly options: JetStreamStorageOptions) {
    this.type = options.type ?? 'batch-item';
  }

  async open(link: BrokerLink<T, R>): Promise<void> {
    const { batchSize, concurrency: batches, retryStrategy, persistence } = link.settings;
    this.link = link;
    this.queue = persistence.storageKey;
    const { connection, consume = true, mode = 'strict', definition = {}, log } = this.options;
    const { multiplier: factor, ...delays } = retryStrategy.backoff;
    const retry = { attempts: retryStrategy.maxRetries + 1, factor, ...delays };
    if (batchSize > MOST_SLOTS)
      throw new JetlaneError('invalid-argument', `expected batchSize to be at most ${MOST_SLOTS} on JetStream; got ${batchSize}`);
    const worker = new Worker(connection, {
      queue: this.queue,
      // One batch more than runs, so that the next one gathers meanwhile.
      concurrency: Math.min(MOST_SLOTS, batchSize * (batches + 1)),
      mode,
      handlers: consume ? { [this.type]: { handle: (item: T, context: TaskContext) => this.run(item, context), retry } } : {},
      definition: { ...definition, mode, retry, defaultType: definition.defaultType ?? this.type },
      ...(log ? { log } : {}),
    });
    // Starting it defines the queue, which a producer needs too.
    await worker.start();
    if (consume) this.worker = worker;
    else await worker.stop();
  }

  async enqueue(item: T, priority: number): Promise<BatchHandle<R>> {
    const { priorityLevels } = this.link.settings;
    const { id } = await this.options.client.enqueue(this.queue, { type: this.type, data: item, lane: laneOf(priority, priorityLevels) });
    let result: Promise<R> | undefined;
    const get = () => {
      result ??= this.result(id);
      result.catch(() => undefined);
      return result;
    };
    return Object.defineProperty({ id, priority } as BatchHandle<R>, 'result', { get, enumerable: true });
  }

  async depth(): Promise<number> {
    const { client, connection } = this.options;
    const { queue } = this;
    // Read along the way of a task, timer → due → lane → timer: read in another order, one that moves meanwhile is seen nowhere.
    const { names } = connection;
    const timers = () => countMessages(connection, names.schedules, names.timer(queue, '*'));
    const first = await timers();
    const due = await countMessages(connection, names.schedules, names.due(queue, '*' as Lane, '*'));
    const [stats] = await client.stats(queue);
    const again = await timers();
    return Math.max(first, again) + due + (stats?.depth ?? 0);
  }

  async close(timeoutMs: number): Promise<void> {
    await this.worker?.stop({ timeout: timeoutMs });
  }

  /** One delivery: the engine keeps its lease while it waits in a batch, and settles it by how this ends. */
  private async run(item: T, { lane, attempt }: TaskContext): Promise<R> {
    try {
      return await this.link.deliver(item, { priority: levelOf(lane, this.link.settings.priorityLevels), attempt });
    } catch (error) {
      const { code, retryable, message, cause } = error as BatchingError;
      if (code !== 'item-failed') throw error;
      throw retryable ? cause : new FatalError(message, { cause });
    }
  }

  private async result(id: string): Promise<R> {
    const { client, resultTimeout: timeout } = this.options;
    const { state, result, attempt, error, reason } = await client.result(id, timeout === undefined ? {} : { timeout });
    if (state === 'completed') return result as R;
    throw this.link.failure(id, attempt, new Error(error?.message ?? `${state}${reason ? `: ${reason}` : ''}`));
  }
}

/** The lanes of so many levels, highest first: 3 levels are high, normal and low; above 4, neighbours share a lane. */
function lanesOf(levels: number): readonly Lane[] {
  if (levels === 1) return ['normal'];
  return levels < 4 ? LANES.slice(1, 1 + levels) : LANES;
}

/** The lane of a priority. @param priority from 0, the highest @param levels how many priorities there are */
export function laneOf(priority: number, levels: number): Lane {
  const lanes = lanesOf(levels);
  return lanes[Math.floor((priority * lanes.length) / levels)]!;
}

/** The highest level of a lane; a lane that no level uses, when others produce into it, counts as its neighbour. */
export function levelOf(lane: Lane, levels: number): number {
  const lanes = lanesOf(levels);
  const rank = Math.min(lanes.length - 1, Math.max(0, LANES.indexOf(lane) - LANES.indexOf(lanes[0]!)));
  return Math.ceil((rank * levels) / lanes.length);
}
