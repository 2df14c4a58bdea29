import { TaskClient } from '@jetlane/client';
import { type Connection, countMessages } from '@jetlane/jetstream';
import { type Duration, FatalError, LANES, type Lane, type QueueDefinition } from '@jetlane/protocol';
import { type TaskContext, Worker, type WorkerLog } from '@jetlane/worker';
import { BatchingError, ItemFailedError } from './errors.js';
import type { BatchBroker, BatchHandle, BrokerLink } from './storage.js';

/** Slots that a worker may have. */
const MOST_SLOTS = 10_000;

export interface JetStreamStorageOptions {
  /** Of the caller, who closes it after the queue. */
  readonly connection: Connection;
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
  private readonly client: TaskClient;
  private readonly type: string;
  private worker: Worker | undefined;
  private link!: BrokerLink<T, R>;

  constructor(private readonly options: JetStreamStorageOptions) {
    this.client = new TaskClient(options.connection);
    this.type = options.type ?? 'batch-item';
  }

  async open(link: BrokerLink<T, R>): Promise<void> {
    this.link = link;
    const { connection, consume = true, mode = 'strict', definition = {}, log } = this.options;
    const { maxRetries, initialMs, multiplier, maxMs, jitter } = link.retry;
    const retry = { attempts: maxRetries + 1, initialDelay: initialMs, factor: multiplier, maxDelay: maxMs, jitter };
    if (link.batchSize > MOST_SLOTS)
      throw new BatchingError('invalid-options', `expected batchSize to be at most ${MOST_SLOTS} on JetStream; got ${link.batchSize}`);
    const worker = new Worker(connection, {
      queue: link.storageKey,
      // One batch more than runs, so that the next one gathers meanwhile.
      concurrency: Math.min(MOST_SLOTS, link.batchSize * (link.concurrency + 1)),
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
    const { storageKey, priorityLevels } = this.link;
    const { id } = await this.client.enqueue(storageKey, { type: this.type, data: item, lane: laneOf(priority, priorityLevels) });
    let result: Promise<R> | undefined;
    const get = () => {
      result ??= this.result(id);
      result.catch(() => undefined);
      return result;
    };
    return Object.defineProperty({ id, priority } as BatchHandle<R>, 'result', { get, enumerable: true });
  }

  async depth(): Promise<number> {
    const { connection } = this.options;
    const { storageKey } = this.link;
    // Read along the way of a task, timer → due → lane → timer: read in another order, one that moves meanwhile is seen nowhere.
    const { names } = connection;
    const timers = () => countMessages(connection, names.schedules, names.timer(storageKey, '*'));
    const first = await timers();
    const due = await countMessages(connection, names.schedules, names.due(storageKey, '*' as Lane, '*'));
    const [stats] = await this.client.stats(storageKey);
    const again = await timers();
    return Math.max(first, again) + due + (stats?.depth ?? 0);
  }

  async close(timeoutMs: number): Promise<void> {
    await this.worker?.stop({ timeout: timeoutMs });
    await this.client.close();
  }

  /** One delivery: the engine keeps its lease while it waits in a batch, and settles it by how this ends. */
  private async run(item: T, { lane, attempt }: TaskContext): Promise<R> {
    try {
      return await this.link.deliver(item, { priority: levelOf(lane, this.link.priorityLevels), attempt });
    } catch (error) {
      if (error instanceof ItemFailedError && !error.retryable) throw new FatalError(error.message, { cause: error.cause });
      throw error instanceof ItemFailedError ? error.cause : error;
    }
  }

  private async result(id: string): Promise<R> {
    const { resultTimeout } = this.options;
    const { state, result, attempt, error, reason } = await this.client.result(
      id,
      resultTimeout === undefined ? {} : { timeout: resultTimeout },
    );
    if (state === 'completed') return result as R;
    const cause = new Error(error?.message ?? `${state}${reason ? `: ${reason}` : ''}`);
    throw new ItemFailedError(this.link.storageKey, id, attempt, cause);
  }
}

/** The lanes of so many levels, highest first: 3 levels are high, normal and low; above 4, neighbours share a lane. */
function lanesOf(levels: number): readonly Lane[] {
  if (levels === 1) return ['normal'];
  return levels < 4 ? LANES.slice(1, 1 + levels) : LANES;
}

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
