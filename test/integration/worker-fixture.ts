import { type Connection, leaderGet, TaskStore } from '@jetlane/jetstream';
import {
  decodeRecord,
  encodeHeaders,
  type HeaderPair,
  headerValue,
  type Lane,
  parseHistory,
  type QueueDefinition,
  type StateRecord,
  type Topology,
} from '@jetlane/protocol';
import type { NatsServerOptions } from '@jetlane/testing';
import { Worker, type WorkerOptions } from '@jetlane/worker';
import { Scheduler } from '@jetlane/worker/scheduler';
import { eventually, Installation, keepingLog } from './services-fixture.js';

/** Short enough for tests that wait for a lease to end. */
export const SHORT_LEASE = '1s';

/** A policy whose retries come at once. */
export const QUICK_RETRY = { attempts: 3, initialDelay: 1, maxDelay: 5 } as const;

/** What is left of a task that was given up. */
export interface Letter {
  readonly reason: string | undefined;
  readonly error: { name: string; message: string; code?: string; stack?: string };
  readonly history: ReturnType<typeof parseHistory>;
  readonly hop: number;
  readonly headers: readonly HeaderPair[];
  readonly data: Uint8Array;
}

/** A server, an installation on it, and workers that are stopped at the end. */
export class WorkerSite {
  private readonly workers: Worker[] = [];
  private readonly queues = new Set<string>();
  private scheduler: Scheduler | undefined;
  private counter = 0;

  private constructor(readonly installation: Installation) {}

  static async open(namespace: string, options: NatsServerOptions = {}, topology?: Topology): Promise<WorkerSite> {
    return new WorkerSite(await Installation.open(namespace, options, topology));
  }

  get connection(): Connection {
    return this.installation.connection;
  }

  /** Retries need somebody who moves what is due. */
  async schedule(): Promise<void> {
    this.scheduler = new Scheduler(await this.installation.link(), { log: keepingLog() });
    await this.scheduler.start();
  }

  async close(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.stop({ timeout: 0 })));
    await this.scheduler?.stop();
    await this.installation.close();
  }

  /** A name for a queue that no other test uses. */
  queueName(): string {
    return `q${++this.counter}`;
  }

  /** A worker that runs, over a link of its own unless one is given. */
  async worker(options: WorkerOptions, connection?: Connection): Promise<Worker> {
    const worker = new Worker(connection ?? (await this.installation.link()), options);
    this.workers.push(worker);
    await worker.start();
    this.queues.add(options.queue);
    return worker;
  }

  /** A queue that stands before any worker knows it. */
  async define(definition: QueueDefinition): Promise<void> {
    await this.installation.queue(definition);
  }

  /** Publishes as a stranger's client does: subject, body, and only the given headers. */
  async send(
    queue: string,
    key: string,
    body: string | Uint8Array = '',
    headers: readonly HeaderPair[] = [],
    lane: Lane = 'normal',
  ): Promise<void> {
    const { names } = this.connection;
    const data = typeof body === 'string' ? Buffer.from(body) : body;
    await this.connection.publish(names.task(queue, lane, key), data, headers.length > 0 ? encodeHeaders(headers) : undefined);
  }

  /** A task of a type with a JSON payload. */
  task(queue: string, key: string, type: string, data?: unknown, lane: Lane = 'normal'): Promise<void> {
    return this.send(queue, key, data === undefined ? '' : JSON.stringify(data), [['Task-Type', type]], lane);
  }

  async record(queue: string, key: string): Promise<StateRecord | undefined> {
    const stored = await leaderGet(this.connection, this.connection.names.taskStates, this.connection.names.state(queue, key));
    return stored && decodeRecord(stored.data);
  }

  /** Waits for a record in a state; fails by showing the one that stands. */
  async reaches(queue: string, key: string, state: StateRecord['state'], timeoutMs = 15_000): Promise<StateRecord> {
    let last: StateRecord | undefined;
    await eventually(
      `task ${queue}.${key} is ${state}`,
      async () => {
        last = await this.record(queue, key);
        return last?.state === state;
      },
      timeoutMs,
    );
    return last!;
  }

  async letter(queue: string, key: string): Promise<Letter | undefined> {
    const stored = await this.installation.dead(queue, key);
    if (!stored) return undefined;
    const header = (name: string) => headerValue(stored.headers, name);
    return {
      reason: header('Task-Dead-Reason'),
      error: JSON.parse(header('Task-Dead-Error')!) as Letter['error'],
      history: parseHistory(header('Task-Errors')),
      hop: Number(header('Task-Hop')),
      headers: stored.headers,
      data: stored.data,
    };
  }

  /** Waits until the task is a dead letter and gone from its lane. */
  async buried(queue: string, key: string): Promise<Letter> {
    await this.reaches(queue, key, 'dead');
    await this.gone(queue, key);
    return (await this.letter(queue, key))!;
  }

  /** Waits until no lane, timer or due message holds the task. */
  async gone(queue: string, key: string): Promise<void> {
    const store = new TaskStore(this.connection);
    const live = async () => (await store.traces(queue, key, leaderGet)).copies.filter(({ place }) => place !== 'dead');
    await eventually(`task ${queue}.${key} is settled`, async () => (await live()).length === 0);
  }

  /** Waits until a queue holds nothing. */
  async drained(queue: string, timeoutMs = 30_000): Promise<void> {
    await eventually(`queue ${queue} is empty`, async () => (await this.installation.depth(queue)) === 0, timeoutMs);
  }
}

/** A promise to be fulfilled from outside. */
export function deferred<T = void>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((fulfil) => {
    resolve = fulfil;
  });
  return { promise, resolve };
}
