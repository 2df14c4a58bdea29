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
  private growing: Promise<void> | undefined;
  private closed = false;

  private constructor(
    private readonly opened: Connection[],
    private readonly options: ConnectOptions,
    private readonly most: number,
  ) {}

  /** The links that are open, busy or not. */
  get connections(): readonly Connection[] {
    return this.opened;
  }

  /**
   * Opens all links; when one fails the others are closed again.
   * @param size links, 1 to 64
   * @param most links that it may grow to when all are busy; default: it does not grow
   * @throws JetlaneError `invalid-argument`; what {@link connect} throws
   */
  static async open(options: ConnectOptions, size: number, most = size): Promise<ConnectionPool> {
    for (const count of [size, most]) {
      if (Number.isInteger(count) && count >= 1 && count <= 64) continue;
      throw new JetlaneError('invalid-argument', `expected the size of a connection pool to be a whole number from 1 to 64, got ${count}`, {
        details: { field: 'size' },
      });
    }
    const opening = await Promise.allSettled(Array.from({ length: size }, (_, i) => connect(linkOptions(options, i))));
    const connections = opening.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const failed = opening.find((result) => result.status === 'rejected');
    if (failed) {
      await Promise.all(connections.map((connection) => connection.close()));
      throw failed.reason;
    }
    return new ConnectionPool(connections, options, most);
  }

  /** The link with the fewest unconfirmed publishes among those that are up; equals take turns. */
  next(): Connection {
    this.turn = (this.turn + 1) % this.connections.length;
    let best = this.connections[this.turn]!;
    for (let i = 1; i < this.connections.length; i++) {
      const other = this.connections[(this.turn + i) % this.connections.length]!;
      if (load(other) < load(best)) best = other;
    }
    if (load(best) >= BUSY) this.grow();
    return best;
  }

  /** One more link; until it is up the others go on. */
  private grow(): void {
    if (this.growing || this.closed || this.opened.length >= this.most) return;
    this.growing = connect({ ...linkOptions(this.options, this.opened.length), waitOnFirstConnect: false })
      .then((connection) => (this.closed ? connection.close() : void this.opened.push(connection)))
      // The next busy moment tries again.
      .catch(() => undefined)
      .finally(() => {
        this.growing = undefined;
      });
  }

  /** One row per link, for metrics. */
  stats(): PooledConnection[] {
    return this.connections.map(({ state, reconnects, publisher }, i) => ({
      name: linkOptions(this.options, i).name,
      state,
      reconnects,
      pending: publisher.pending,
      queued: publisher.queued,
    }));
  }

  /** Closes all links. */
  async close(): Promise<void> {
    this.closed = true;
    await this.growing;
    await Promise.all(this.connections.map((connection) => connection.close()));
  }
}

/** Unconfirmed publishes of the least busy link from which one more is opened. */
const BUSY = 256;

const linkOptions = (options: ConnectOptions, i: number) => ({ ...options, name: `${options.name ?? 'jetlane'}-${i + 1}` });

const load = ({ state, publisher }: Connection): number =>
  state === 'connected' ? publisher.pending + publisher.queued : Number.POSITIVE_INFINITY;
