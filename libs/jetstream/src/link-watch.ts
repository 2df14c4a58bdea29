import type { NatsConnection } from '@nats-io/nats-core';

/** The parts of the client's socket that a watch needs (transport-node, node_transport.js). */
interface Wire {
  readonly bytesRead: number;
  destroy(): void;
  resetAndDestroy(): void;
}

const LOOKS_PER_PING = 2;
/** Looks in a row that found nothing read, after which the link is dead: 3.5 ping intervals. */
const MOST_QUIET_LOOKS = 7;

/**
 * Finds out about a link that is half open: nothing comes, and nobody says that it is gone. Whatever is read counts as
 * life, not the answer to a ping alone, which stands behind all that the server has sent before. Looks are counted, not
 * time: a process whose event loop is blocked makes no look, and a look counts only when the socket could be read since the
 * one before. The client's own pings count time, and wait for the answer.
 */
export class LinkWatch {
  private quiet = 0;
  private read = 0;
  private couldRead = true;
  private wire: Wire | undefined;
  private readonly timer: NodeJS.Timeout;

  /** @param pingIntervalMs silence after which the server is asked for a sign of life, in ms */
  constructor(
    private readonly nats: NatsConnection,
    pingIntervalMs: number,
  ) {
    this.timer = setInterval(() => this.look(), pingIntervalMs / LOOKS_PER_PING);
    this.timer.unref();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private look(): void {
    if (this.nats.isClosed()) return this.stop();
    const { protocol } = this.nats as unknown as { protocol?: { connected?: boolean; transport?: { socket?: Wire } } };
    const wire = protocol?.connected === false ? undefined : protocol?.transport?.socket;
    const read = wire?.bytesRead ?? this.nats.stats().inMsgs;
    if (wire !== this.wire || read !== this.read) this.quiet = 0;
    else if (this.couldRead && protocol?.connected !== false) this.quiet++;
    this.wire = wire;
    this.read = read;
    this.couldRead = false;
    // Immediates run behind the reading of sockets; timers that are late may run one after the other without it.
    setImmediate(() => {
      this.couldRead = true;
    });
    if (this.quiet >= MOST_QUIET_LOOKS) this.cut(wire);
    else if (this.quiet === 1) this.nats.flush().catch(() => undefined);
  }

  /**
   * The client's own way to drop a link first waits until all is written, for a quarter of an hour if nobody reads. A reset
   * also throws away what lies in the system's buffer: a record that came through later could replace a newer one.
   */
  private cut(wire: Wire | undefined): void {
    this.quiet = 0;
    if (!wire) return void this.nats.reconnect().catch(() => undefined);
    try {
      wire.resetAndDestroy();
    } catch {
      // Encrypted sockets cannot be reset.
      wire.destroy();
    }
  }
}
