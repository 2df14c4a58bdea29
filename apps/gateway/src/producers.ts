import { TaskClient } from '@jetlane/client';
import { type Connection, ConnectionPool, type ConnectOptions } from '@jetlane/jetstream';
import type { Component, ServiceConfig } from '@jetlane/nestjs/service';

/** The clients that requests enqueue with: one over the service's own link, or one for each link of a pool. */
export class Producers implements Component {
  /** Over the service's own link. */
  readonly main: TaskClient;
  private pool: ConnectionPool | undefined;
  private readonly clients = new Map<Connection, TaskClient>();

  constructor(
    connection: Connection,
    private readonly nats: ConnectOptions,
    private readonly size: ServiceConfig['pool'],
  ) {
    this.main = new TaskClient(connection);
  }

  async start(): Promise<void> {
    await this.main.start();
    if (!this.size) return;
    this.pool = await ConnectionPool.open(this.nats, this.size.min, this.size.max);
    await Promise.all(this.pool.connections.map((connection) => this.clientOf(connection).start()));
  }

  async stop(): Promise<void> {
    await Promise.all([this.main, ...this.clients.values()].map((client) => client.close()));
    await this.pool?.close();
  }

  /** A client over the least busy link. */
  next(): TaskClient {
    return this.pool ? this.clientOf(this.pool.next()) : this.main;
  }

  private clientOf(connection: Connection): TaskClient {
    const client = this.clients.get(connection) ?? new TaskClient(connection);
    this.clients.set(connection, client);
    return client;
  }
}
