import { batchGet } from './batch-get.js';
import type { Connection } from './connection.js';
import type { StoredMessage } from './stored.js';

/** What to follow. */
export interface FollowOptions {
  readonly stream: string;
  /** Only messages whose subject matches. */
  readonly subject: string;
  /** Gets the messages in the stream's order, one at a time: the next one waits until it is done. If it throws it gets the message again. */
  readonly onMessage: (message: StoredMessage) => void | Promise<void>;
  /** First sequence to read. Default 1: all that is stored. To resume, the `position` of the earlier follower + 1. */
  readonly from?: number;
  /**
   * A core subject whose messages tell that there is something new, such as the stream's own subjects or those it republishes
   * to. Without it news is found by asking every `pollMs`; set it only where the traffic is worth listening to.
   */
  readonly wakeOn?: string;
  /** How often to ask when nothing wakes it, in ms. Default 1,000. */
  readonly pollMs?: number;
  /** Most messages per question. Default 256. */
  readonly batch?: number;
  /** Told of every failure; the follower goes on by itself. */
  readonly onError?: (error: unknown) => void;
}

const WAKE_DELAY_MS = 20;
const RETRY_MS = 500;

/**
 * Reads a stream from a sequence on and stays at its end. It keeps nothing on the server (no consumer that could be lost,
 * paused or run out): it asks for the next batch by direct get, from any replica, and its only state is the position. So it
 * survives restarts and reconnects, and every message is seen in order, at least once, as long as the stream still has it.
 * States: new → running (`start`) → stopped (`stop`).
 */
export class StreamFollower {
  /** Sequence of the last message that `onMessage` finished; `from - 1` before the first. */
  position: number;
  /** `performance.now()` of the last answer, whether it held news or not; 0 before the first. For health checks. */
  answeredAt = 0;
  /** Resolves when all that was stored has been read for the first time, or the follower was stopped. */
  readonly caughtUp: Promise<void>;
  private reachedEnd: () => void = () => undefined;
  private running: Promise<void> | undefined;
  private stopped = false;
  private epoch = 0;
  private news = false;
  private wake: () => void = () => undefined;

  constructor(
    private readonly connection: Connection,
    private readonly options: FollowOptions,
  ) {
    this.position = (options.from ?? 1) - 1;
    this.caughtUp = new Promise((resolve) => {
      this.reachedEnd = resolve;
    });
  }

  /** Begins to read. */
  start(): void {
    this.running ??= this.run();
  }

  /** Ends it; resolves when the message in hand is done. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.wake();
    await this.running;
  }

  private over(): boolean {
    return this.stopped || this.connection.state === 'closed';
  }

  private async run(): Promise<void> {
    const { wakeOn } = this.options;
    const unsubscribe = wakeOn ? this.connection.subscribe(wakeOn, () => this.notice()) : () => undefined;
    while (!this.over()) {
      try {
        await this.round();
      } catch (error) {
        if (!this.over()) this.options.onError?.(error);
        await this.pause(RETRY_MS);
      }
    }
    unsubscribe();
    this.reachedEnd();
  }

  private async round(): Promise<void> {
    if (this.connection.state !== 'connected') return this.pause(RETRY_MS);
    if (this.epoch !== this.connection.epoch) await this.checkStream();
    this.news = false;
    const left = await this.readBatch();
    if (left > 0) return;
    this.reachedEnd();
    if (!this.news) await this.pause(this.options.pollMs ?? 1000);
    // Messages come in crowds: one question serves them all.
    if (this.news && !this.stopped) await new Promise((resolve) => setTimeout(resolve, WAKE_DELAY_MS));
  }

  /** A stream that was deleted and made anew counts from 1 again. */
  private async checkStream(): Promise<void> {
    const epoch = this.connection.epoch;
    const { streams } = await this.connection.admin();
    const { state } = await streams.info(this.options.stream);
    if (state.last_seq < this.position) this.position = 0;
    this.epoch = epoch;
  }

  /** Asks for one batch and hands it over; tells how much is left. */
  private async readBatch(): Promise<number> {
    const queue: StoredMessage[] = [];
    const { stream, subject, batch = 256 } = this.options;
    const request = { stream, subject, from: this.position + 1, batch };
    const pending = await batchGet(this.connection, request, (message) => queue.push(message));
    this.answeredAt = performance.now();
    for (const message of queue) {
      if (this.stopped) return 0;
      await this.options.onMessage(message);
      this.position = message.sequence;
    }
    return pending;
  }

  private notice(): void {
    this.news = true;
    this.wake();
  }

  private pause(ms: number): Promise<void> {
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
