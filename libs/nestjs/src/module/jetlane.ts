import { TaskClient } from '@jetlane/client';
import { type Connection, connect, ensureQueue, openQueueBucket, provisionQueue } from '@jetlane/jetstream';
import { JetlaneError, parseQueueDefinition, type QueueDefinition } from '@jetlane/protocol';
import type { OnApplicationShutdown } from '@nestjs/common';
import { type JetlaneRole, readRole } from './config.js';
import { nestLog } from './nest-log.js';
import type { JetlaneOptions } from './options.js';
import { Queue } from './queue.js';

interface OpenQueue {
  readonly definition: QueueDefinition;
  readonly queue: Promise<Queue>;
}

/**
 * One connection of the application: its link to NATS, the client, the queues that were opened on it.
 * States: open → closed, by `close` or the application's shutdown.
 */
export class Jetlane implements OnApplicationShutdown {
  readonly client: TaskClient;
  private readonly opened = new Map<string, OpenQueue>();

  private constructor(
    readonly connection: Connection,
    readonly role: JetlaneRole,
    private readonly owned: boolean,
  ) {
    this.client = new TaskClient(connection);
  }

  /**
   * Connects, waiting for the server if it is not there yet.
   * @throws JetlaneError `invalid-configuration`, `invalid-argument`, `unauthorized`; `not-connected` with `waitOnFirstConnect: false`
   */
  static async open(options: JetlaneOptions = {}): Promise<Jetlane> {
    const role = readRole(options.role);
    if (options.connection) return new Jetlane(options.connection, role, false);
    const onWaiting = (error: Error) => nestLog.warn({ error: error.message }, 'connection:awaited');
    return new Jetlane(await connect({ onWaiting, ...options }), role, true);
  }

  /**
   * Opens a queue: defines it if nobody did and makes sure that its streams stand. A stored definition that is more than a name wins
   * over the given one; where they differ, the log says so.
   * @param definition the queue's definition, or only its name
   * @throws JetlaneError `invalid-configuration` for a definition that is not valid, or that differs from one given earlier in this
   * process; `server-too-old`, `stream-mismatch`, `jetstream-api`
   */
  queue(definition: QueueDefinition | string): Promise<Queue> {
    const wanted = typeof definition === 'string' ? { name: definition } : definition;
    const known = this.opened.get(wanted.name);
    if (known && (isBare(wanted) || same(wanted, known.definition))) return known.queue;
    if (known && !isBare(known.definition)) return Promise.reject(twoDefinitions(wanted, known.definition));
    const queue = this.open(wanted);
    this.opened.set(wanted.name, { definition: wanted, queue });
    queue.catch(() => this.opened.delete(wanted.name));
    return queue;
  }

  /** Names of the queues that were opened. */
  queueNames(): string[] {
    return [...this.opened.keys()];
  }

  /** Closes the client, and the connection if this opened it. May be called twice. */
  async close(): Promise<void> {
    await this.client.close();
    if (this.owned) await this.connection.close();
  }

  /** Called by Nest, when HTTP requests in flight have been answered. */
  onApplicationShutdown(): Promise<void> {
    return this.close();
  }

  private async open(definition: QueueDefinition): Promise<Queue> {
    const wanted = parseQueueDefinition(definition);
    const stored = await ensureQueue(this.connection, wanted);
    const holds = isBare(stored) && !isBare(wanted) ? await this.define(wanted) : stored;
    const fields = Object.keys(wanted).filter((field) => !same(fieldOf(wanted, field), fieldOf(holds, field)));
    if (fields.length > 0) nestLog.warn({ queue: definition.name, fields }, 'queue:defined-otherwise');
    return new Queue(holds, this.client, this.connection);
  }

  /** Whoever opened the queue by its name alone said nothing about it, so the definition still counts. */
  private async define(definition: QueueDefinition): Promise<QueueDefinition> {
    await (await openQueueBucket(this.connection)).put(definition.name, definition);
    await provisionQueue(this.connection, definition);
    return definition;
  }
}

const fieldOf = (definition: QueueDefinition, field: string): unknown => (definition as Readonly<Record<string, unknown>>)[field];
const isBare = (definition: QueueDefinition): boolean => Object.keys(definition).length === 1;
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

function twoDefinitions(one: QueueDefinition, other: QueueDefinition): JetlaneError {
  return new JetlaneError(
    'invalid-configuration',
    `queue "${one.name}" is registered twice, as ${JSON.stringify(other)} and as ${JSON.stringify(one)}; give its definition once and only its name elsewhere`,
    { details: { queue: one.name } },
  );
}
