import { JetlaneError } from '@jetlane/protocol';
import { type Connection, type ConnectionState, connect } from './connection.js';
import type { ConnectOptions } from './connection-options.js';

/** How one connection of a pool fares. */
export interface PooledConnection {
  readonly name: string;
  readonly state: ConnectionState;
  readonly reconnects: number;
  /** Publishes that are sent and not confirmed. */
  readonly pending: number;
  /** Publishes that wait for a place in the window. */
  readonly queued: number;
}

/**
 * Several links to one installation. The server reads each link one message at a time, so a producer that one link cannot
 * feed fast enough takes the least busy of several; most processes need one link and no pool.
 */
export class ConnectionPool {
  private turn = 0;

  private constructor(
    readonly connections: readonly Connection[],
    private readonly name: string,
  ) {}

  /**
   * Opens all links; when one fails the others are closed again.
   * @param size links, 1 to 64
   * @throws JetlaneError `invalid-argument`; what {@link connect} throws
   */
  static async open(options: ConnectOptions, size: number): Promise<ConnectionPool> {
    if (!Number.isInteger(size) || size < 1 || size > 64) {
      throw new JetlaneError('invalid-argument', `expected the size of a connection pool to be a whole number from 1 to 64, got ${size}`, {
        details: { field: 'size' },
      });
    }
    const name = options.name ?? 'jetlane';
    const opening = await Promise.allSettled(Array.from({ length: size }, (_, i) => connect({ ...options, name: `${name}-${i + 1}` })));
    const connections = opening.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const failed = opening.find((result) => result.status === 'rejected');
    if (failed) {
      await Promise.all(connections.map((connection) => connection.close()));
      throw failed.reason;
    }
    return new ConnectionPool(connections, name);
  }

  /** The link with the fewest unconfirmed publishes among those that are up; equals take turns. */
  next(): Connection {
    this.turn = (this.turn + 1) % this.connections.length;
    let best = this.connections[this.turn]!;
    for (let i = 1; i < this.connections.length; i++) {
      const other = this.connections[(this.turn + i) % this.connections.length]!;
      if (load(other) < load(best)) best = other;
    }
    return best;
  }

  /** One row per link, for metrics. */
  stats(): PooledConnection[] {
    return this.connections.map(({ state, reconnects, publisher }, i) => ({
      name: `${this.name}-${i + 1}`,
      state,
      reconnects,
      pending: publisher.pending,
      queued: publisher.queued,
    }));
  }

  /** Closes all links. */
  async close(): Promise<void> {
    await Promise.all(this.connections.map((connection) => connection.close()));
  }
}

const load = ({ state, publisher }: Connection): number =>
  state === 'connected' ? publisher.pending + publisher.queued : Number.POSITIVE_INFINITY;
