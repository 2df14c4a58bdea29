import { type Connection, trimRecords } from '@jetlane/jetstream';
import type { CompiledOptions } from './options.js';

/** How long after a record the oldest ones are removed, in ms: together, since the server looks through the stream for it. */
const PAUSE_MS = 5000;

/**
 * Keeps the records of a queue to `maxRecords`: the oldest go first. The server counts and removes; several workers that do it at once do
 * no harm, and one that dies before it leaves it to the next that writes a record.
 */
export class RecordLimit {
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(
    private readonly connection: Connection,
    private readonly options: CompiledOptions,
  ) {}

  /** What is too many then stays until the next worker writes. */
  stop(): void {
    clearTimeout(this.timer);
    this.stopped = true;
  }

  /** A record may have been written. */
  wrote(): void {
    if (this.timer || this.stopped || this.options.maxRecords === undefined) return;
    this.timer = setTimeout(() => void this.trim(), PAUSE_MS);
    this.timer.unref();
  }

  private async trim(): Promise<void> {
    const { connection, options } = this;
    const most = options.maxRecords;
    try {
      // The limit may have been lifted meanwhile.
      if (most !== undefined) await trimRecords(connection, options.queue, most);
    } catch (error) {
      options.log.warn({ queue: options.queue, error: String(error) }, 'records:not-trimmed');
    }
    this.timer = undefined;
  }
}
