import {
  type Connection,
  enforcePause,
  type JobLog,
  type JsonBucket,
  openPauses,
  type PauseEntry,
  pauseEnd,
  readPause,
} from '@jetlane/jetstream';
import { JetlaneError, type QueuePause, toMs } from '@jetlane/protocol';

/** Pause between two looks at what is paused, ms. */
const ROUND_MS = 5000;
/** How long after its end an entry is still enforced, ms. */
const SETTLED_MS = 600_000;

export interface PausesOptions {
  readonly log: JobLog;
  /** Default 5,000. */
  readonly roundMs?: number;
}

/**
 * Pauses and resumes queues. What operators want stands in the bucket `pauses`; the server's consumers are made to fit, at once by
 * whoever takes the command, and again and again by every copy.
 *
 * Crash before the entry: nothing happened. Between entry and consumers: the next round of any copy, or its start, finishes it. A consumer
 * that is deleted and made anew is paused from its first moment. Tests: steer-pause.spec.
 */
export class Pauses {
  private bucket: JsonBucket<PauseEntry> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private round: Promise<void> = Promise.resolve();
  private stopped = false;

  constructor(
    private readonly connection: Connection,
    private readonly options: PausesOptions,
  ) {}

  async start(): Promise<void> {
    this.bucket = await openPauses(this.connection);
    await this.enforce();
    this.next();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.round;
  }

  /** @returns how it is afterwards */
  async set(queue: string, paused: boolean, asked: { for?: number | string; reason?: string; by: string }): Promise<QueuePause> {
    const { reason, by } = asked;
    const now = await this.connection.clock.toServer(Date.now());
    // The server keeps whole seconds: rounded up, so that it is never shorter than what was asked for.
    const until = asked.for === undefined ? {} : { until: Math.ceil((now + toMs(asked.for, 'for')) / 1000) * 1000 };
    const entry: PauseEntry = { paused, ...until, at: Math.round(now), by, ...(reason === undefined ? {} : { reason }) };
    await this.opened().put(queue, entry);
    await enforcePause(this.connection, queue);
    return this.get(queue);
  }

  async get(queue: string): Promise<QueuePause> {
    const { entry } = await readPause(this.connection, queue);
    if (!entry) return { queue, paused: false };
    const { at: since, until, by, reason } = entry;
    const paused = (await pauseEnd(this.connection, entry)) !== undefined;
    return {
      ...{ queue, paused, since },
      ...(paused && until !== undefined ? { until } : {}),
      ...(by === undefined ? {} : { by }),
      ...(reason === undefined ? {} : { reason }),
    };
  }

  private opened(): JsonBucket<PauseEntry> {
    if (!this.bucket) throw new JetlaneError('service-unavailable', 'the service is still starting; try again in a moment');
    return this.bucket;
  }

  private next(): void {
    if (this.stopped) return;
    this.timer = setTimeout(
      () => {
        this.round = this.enforce()
          .catch((error: unknown) => this.options.log.warn({ error: String(error) }, 'pauses:not-enforced'))
          .then(() => this.next());
      },
      (this.options.roundMs ?? ROUND_MS) * (0.9 + 0.2 * Math.random()),
    );
    this.timer.unref();
  }

  private async enforce(): Promise<void> {
    if (this.connection.state !== 'connected') return;
    // By the clock that wrote the entries' times.
    const now = await this.connection.clock.toServer(Date.now());
    for (const { key: queue, value } of await this.opened().all()) {
      if (this.stopped) return;
      if (now - Math.max(value.at, value.until ?? 0) > SETTLED_MS && !(value.paused && value.until === undefined)) continue;
      const lanes = await enforcePause(this.connection, queue);
      if (lanes.length > 0) this.options.log.info({ queue, paused: value.paused, lanes }, 'queue:pause-repaired');
    }
  }
}
