import { type Connection, directGetBatch, type StoredMessage, streamState } from '@jetlane/jetstream';
import type { ProjectionStatus } from '@jetlane/protocol';
import type { Projection } from './projection.js';
import { type Change, changeOf } from './record-row.js';

/** Records per question, and per transaction: one of 500 rows takes about 10 ms, in which nothing else happens here. */
const READ = 1000;
const APPLY = 500;
const READ_BYTES = 2 * 1024 * 1024;
const POLL_MS = 500;
const RETRY_MS = 2000;
/** Rows that expired are deleted this often; searches pass over them anyway. */
const EXPIRE_MS = 30_000;
/** Batches of expired rows per round. */
const EXPIRE_BATCHES = 20;

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export interface FeedLog {
  warn(facts: object, event: string): void;
}

/**
 * Feeds a projection from the record stream. It asks by direct get, so nothing is kept on the server, and the position is the
 * projection's own: it is stored with the rows, which a consumer's acknowledgements cannot be. While it catches up it rests
 * as long as it works, so that it takes half a core at most.
 */
export class Feed {
  private position = 0;
  private pending = 0;
  private applied = 0;
  private costMs = 0;
  private caughtUpAt = 0;
  private everCaughtUp = false;
  private failure: string | undefined;
  private attachedTo = 0;
  private expiredAt = 0;
  private stopped = false;
  private running: Promise<void> | undefined;
  private wake: () => void = () => undefined;

  constructor(
    private readonly connection: Connection,
    private readonly projection: Projection,
    private readonly log: FeedLog,
  ) {}

  start(): void {
    this.caughtUpAt = Date.now();
    this.running ??= this.run();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.wake();
    await this.running;
  }

  status(): ProjectionStatus {
    const { position, applied, projection } = this;
    const cost_ms = Math.round(this.costMs);
    return { ...this.lag(), rows: projection.rows(), position, bytes: projection.database.bytes(), applied, cost_ms };
  }

  lag(): Pick<ProjectionStatus, 'state' | 'detail' | 'pending' | 'lag_ms'> {
    const behind = this.pending > 0 || !this.everCaughtUp || this.failure !== undefined;
    return {
      state: this.failure ? 'failed' : this.everCaughtUp ? 'current' : 'building',
      ...(this.failure ? { detail: this.failure } : {}),
      pending: this.pending,
      lag_ms: behind ? Math.max(0, Date.now() - this.caughtUpAt) : 0,
    };
  }

  private async run(): Promise<void> {
    while (!this.stopped && this.connection.state !== 'closed') {
      try {
        await this.round();
        this.failure = undefined;
      } catch (error) {
        await this.failed(error);
      }
    }
  }

  private async round(): Promise<void> {
    if (this.connection.state !== 'connected') return this.rest(RETRY_MS);
    if (this.attachedTo !== this.connection.epoch) await this.attach();
    const { names } = this.connection;
    const { messages, pending } = await directGetBatch(this.connection, names.taskStates, {
      subject: names.pattern('states.>'),
      from: { sequence: this.position + 1 },
      batch: READ,
      maxBytes: READ_BYTES,
    });
    const began = performance.now();
    for (let i = 0; i < messages.length; i += APPLY) await this.apply(messages.slice(i, i + APPLY));
    const tookMs = performance.now() - began;
    this.pending = pending;
    if (pending === 0) {
      this.everCaughtUp = true;
      this.caughtUpAt = Date.now();
    }
    await this.expire();
    await this.rest(pending > 0 ? tookMs : POLL_MS);
  }

  /** Crash before the commit: these records are read again. After it: the position is behind them. */
  private async apply(messages: readonly StoredMessage[]): Promise<void> {
    const began = performance.now();
    const changes = messages
      .map((message) => changeOf(this.connection.names, message))
      .filter((change): change is Change => change !== undefined);
    const position = messages.at(-1)?.sequence ?? this.position;
    this.projection.apply(changes, position);
    this.position = position;
    this.applied += messages.length;
    this.costMs += performance.now() - began;
    await nextTurn();
  }

  /** Learns what the stream holds. One that was deleted and made anew, also while we were connected, begins at 0. @returns its first sequence */
  private async attach(): Promise<number> {
    const { epoch, names } = this.connection;
    const { created, firstSequence, lastSequence } = await streamState(this.connection, names.taskStates);
    this.position = this.projection.attach({ stream: names.taskStates, created }, lastSequence);
    this.attachedTo = epoch;
    return firstSequence;
  }

  private async expire(): Promise<void> {
    if (Date.now() - this.expiredAt < EXPIRE_MS) return;
    const firstSequence = await this.attach();
    for (let i = 0; i < EXPIRE_BATCHES; i++) {
      if (this.projection.expire(firstSequence, Date.now())) {
        this.expiredAt = Date.now();
        return;
      }
      await nextTurn();
    }
  }

  private async failed(error: unknown): Promise<void> {
    if (this.stopped) return;
    const detail = error instanceof Error ? error.message : String(error);
    if (this.failure !== detail) this.log.warn({ error: detail }, 'search:not-fed');
    this.failure = detail;
    try {
      if (this.projection.recover(error)) this.attachedTo = -1;
    } catch (unusable) {
      this.failure = (unusable as Error).message;
    }
    await this.rest(RETRY_MS);
  }

  private rest(ms: number): Promise<void> {
    if (this.stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
