import { type Connection, connect } from '@jetlane/jetstream';
import { nestLog } from '../module/nest-log.js';
import type { TransportLink } from './options.js';

/** The connection of a transport: a given one, or one of its own. */
export class Link {
  private opening: Promise<Connection> | undefined;

  constructor(private readonly options: TransportLink) {}

  /** Opens it once, however often it is asked for. @throws what `connect` throws; the next call tries again */
  open(): Promise<Connection> {
    this.opening ??= this.connect().catch((error: unknown) => {
      this.opening = undefined;
      throw error;
    });
    return this.opening;
  }

  /** Closes it if it is its own. */
  async close(): Promise<void> {
    const opening = this.opening;
    this.opening = undefined;
    if (!this.options.connection) await (await opening?.catch(() => undefined))?.close();
  }

  private connect(): Promise<Connection> {
    const { connection } = this.options;
    const onWaiting = (error: Error) => nestLog.warn({ error: error.message }, 'connection:awaited');
    return connection ? Promise.resolve(connection) : connect({ onWaiting, ...this.options });
  }
}
