import { randomBytes } from 'node:crypto';
import {
  getJetlaneToken,
  getWorkersToken,
  type Jetlane,
  type Queue,
  type TaskContract,
  type TaskInput,
  type TaskOptions,
  type TaskReceipt,
  type TaskResult,
  type TaskWorkers,
} from '@jetlane/nestjs';
import { type Duration, formatTaskId, type Lane, toMs } from '@jetlane/protocol';
import type { ItemOutcome, TaskContext } from '@jetlane/worker';
import { waitUntil } from '../process/wait-until.js';
import { TestClock } from './clock.js';
import { overTheWire } from './over-the-wire.js';
import { runBatch } from './run-batch.js';
import { fireTimers, type WaitingTask, waitingTasks } from './waiting-tasks.js';

/** An application under test, or any other container of it. */
export interface Container {
  /** The provider of this token. */
  get<T>(token: unknown, options?: { strict: boolean }): T;
}

/** What a handler is told about its run by {@link JetlaneTestKit.runTask}; everything has a default. */
export type RunOptions = Partial<Omit<TaskContext, 'id' | 'queue' | 'type'>> & {
  /** Another type than the contract's present one: an older version. */
  readonly type?: string;
};

/** How {@link JetlaneTestKit.drain} goes about it. */
export interface DrainOptions {
  /** Longest time, in ms. Default 10,000. */
  readonly timeoutMs?: number;
  /** `fire` (default): tasks behind timers run now, so that delays and backoff take no time. `keep`: they stay where they are. */
  readonly timers?: 'fire' | 'keep';
}

/** What became of a task. */
export type TaskEnd<R = unknown> = Awaited<ReturnType<Queue['status']>> & { readonly result?: R };

/** Hands for tests of an application with JetlaneModule: `const kit = jetlaneKit(app)`. */
export class JetlaneTestKit {
  constructor(
    private readonly jetlane: Jetlane,
    private readonly workers: TaskWorkers,
  ) {}

  /**
   * Calls a handler as a worker would, with its contract, guards, pipes, interceptors and filters, and gives its result. Payload and result
   * go through JSON as on the wire. Nothing is stored, and nothing is retried: what the handler throws is thrown here.
   */
  runTask<C extends TaskContract>(contract: C, data: TaskInput<C>, options?: RunOptions): Promise<TaskResult<C>>;
  runTask(queue: string, type: string, data?: unknown, options?: RunOptions): Promise<unknown>;
  async runTask(first: TaskContract | string, second: unknown, third?: unknown, fourth?: RunOptions): Promise<unknown> {
    const { queue, type, data, options } = readCall(first, second, third, fourth);
    const handler = this.workers.handler(queue, type);
    if (!handler) throw this.noHandler('handler', queue, type);
    return overTheWire(await handler(overTheWire(data), contextOf(queue, type, options)));
  }

  /**
   * Stores a task, lets workers run it and all there is to its end, retries and delays included, as fast as they can, and tells what became of
   * it: decoding, lease, handler, retries, record and acknowledgement are those of production.
   * @throws Error that tells what is left when it takes longer than ten seconds
   */
  processTask<C extends TaskContract>(contract: C, data: TaskInput<C>, options?: TaskOptions): Promise<TaskEnd<TaskResult<C>>>;
  processTask(queue: string, type: string, data?: unknown, options?: TaskOptions): Promise<TaskEnd>;
  async processTask(first: TaskContract | string, second: unknown, third?: unknown, fourth?: TaskOptions): Promise<TaskEnd> {
    const queue = await this.jetlane.queue(typeof first === 'string' ? first : first.queue);
    const receipt: TaskReceipt =
      typeof first === 'string'
        ? await queue.enqueue(second as string, third, fourth)
        : await queue.enqueue(first, second, third as TaskOptions | undefined);
    await this.drain();
    return queue.status(receipt);
  }

  /**
   * Lets time pass, as `kit.advance('1h')`: timers due within it fire at once, in order, through a scheduler. Where workers run, what became
   * due is worked off before the next timer fires, and what it sets counts from that moment; the other timers come nearer by as much.
   * @param options longest real time, in ms; default 10,000
   * @returns how many timers fired
   */
  advance(time: Duration, { timeoutMs = 10_000 }: { readonly timeoutMs?: number } = {}): Promise<number> {
    const working = this.workers.queueNames().filter((queue) => this.runs(queue));
    const idle = async () => (await this.left(working)).every(({ depth }) => depth === 0);
    const passage = { queues: this.jetlane.queueNames(), idle, still: working.length === 0, timeoutMs };
    return new TestClock(this.jetlane.connection).advance(toMs(time, 'time'), passage);
  }

  /**
   * Calls a batch handler likewise, with all payloads in one batch, and gives their outcomes in the same order. A payload that does not fit its
   * contract, or the schema of a parameter, has its outcome without the handler. What the handler throws for the whole batch is thrown here.
   */
  runBatch<C extends TaskContract>(
    contract: C,
    payloads: readonly TaskInput<C>[],
    options?: RunOptions,
  ): Promise<readonly ItemOutcome<TaskResult<C>>[]>;
  runBatch(queue: string, type: string, payloads: readonly unknown[], options?: RunOptions): Promise<readonly ItemOutcome[]>;
  async runBatch(first: TaskContract | string, second: unknown, third?: unknown, fourth?: RunOptions): Promise<unknown> {
    const { queue, type, data, options } = readCall(first, second, third, fourth);
    const calls = this.workers.batchHandler(queue, type);
    if (!calls) throw this.noHandler('batch handler', queue, type);
    return runBatch(
      calls,
      (data as readonly unknown[]).map((payload) => ({ data: overTheWire(payload), context: contextOf(queue, type, options) })),
    );
  }

  /** The tasks that wait in a queue, with their payloads: what an application enqueued while no worker runs. */
  waiting(queue: string): Promise<WaitingTask[]> {
    return waitingTasks(this.jetlane.connection, queue);
  }

  /** Puts tasks behind timers into their lanes now, of one queue or of all; returns how many. */
  async fireTimers(queue?: string): Promise<number> {
    let fired = 0;
    for (const name of queue === undefined ? this.jetlane.queueNames() : [queue]) fired += await fireTimers(this.jetlane.connection, name);
    return fired;
  }

  /**
   * Runs workers until every queue of the application is empty, follow-up tasks and retries included, and stops them unless they ran before.
   * @throws Error that tells what is left when it takes longer
   */
  async drain({ timeoutMs = 10_000, timers = 'fire' }: DrainOptions = {}): Promise<void> {
    const ran = this.workers.queueNames().some((queue) => this.runs(queue));
    await this.workers.start();
    try {
      // A task may enqueue another one between two looks at two queues; it cannot do so between two looks at nothing.
      let quiet = 0;
      const done = async () => {
        if (timers === 'fire') await this.fireTimers();
        quiet = (await this.left()).every(({ depth, scheduled }) => depth === 0 && (timers === 'keep' || scheduled === 0)) ? quiet + 1 : 0;
        return quiet === 2;
      };
      if (!(await waitUntil(done, { timeoutMs, everyMs: 5 })))
        throw new Error(`not drained within ${timeoutMs} ms: ${await this.describeLeft()}`);
    } finally {
      if (!ran) await this.workers.stop(0);
    }
  }

  private runs(queue: string): boolean {
    return this.workers.worker(queue)?.health().state === 'running';
  }

  private noHandler(kind: string, queue: string, type: string): Error {
    const other = this.workers.handler(queue, type) ?? this.workers.batchHandler(queue, type);
    const hint = other ? 'the one that it has is of the other kind: runTask and runBatch' : this.handled();
    return new Error(`no ${kind} for task type "${type}" of queue "${queue}" in this application; ${hint}`);
  }

  private handled(): string {
    const queues = this.workers.queueNames();
    if (queues.length === 0) return 'it has none at all: was it initialised, by await app.init()?';
    return `the queues that it has handlers for are: ${queues.join(', ')}`;
  }

  private left(queues = this.workers.queueNames()) {
    return Promise.all(queues.map(async (queue) => (await this.jetlane.client.stats(queue))[0]!));
  }

  private async describeLeft(): Promise<string> {
    return (await this.left()).map(({ queue, depth, scheduled }) => `${queue} has ${depth} tasks and ${scheduled} timers`).join(', ');
  }
}

/** The kit of an application. @param connection its name. Default `default` */
export function jetlaneKit(app: Container, connection?: string): JetlaneTestKit {
  const workers = app.get<TaskWorkers>(getWorkersToken(connection), { strict: false });
  return new JetlaneTestKit(app.get<Jetlane>(getJetlaneToken(connection), { strict: false }), workers);
}

/** Tells the two ways of calling apart. */
function readCall(first: TaskContract | string, second: unknown, third: unknown, fourth: RunOptions | undefined) {
  if (typeof first === 'string') return { queue: first, type: fourth?.type ?? (second as string), data: third, options: fourth };
  const options = third as RunOptions | undefined;
  return { queue: first.queue, type: options?.type ?? first.wireType, data: second, options };
}

function contextOf(queue: string, type: string, options: RunOptions = {}): TaskContext {
  const key = options.key ?? `test-${randomBytes(6).toString('hex')}`;
  return {
    key,
    lane: 'normal' satisfies Lane,
    attempt: 1,
    hop: 1,
    delivery: 1,
    fencingToken: 1001,
    group: undefined,
    createdAt: Date.now(),
    signal: new AbortController().signal,
    traceparent: undefined,
    deadline: undefined,
    progress: () => undefined,
    log: () => undefined,
    ...options,
    id: formatTaskId(queue, key),
    queue,
    type,
  };
}
