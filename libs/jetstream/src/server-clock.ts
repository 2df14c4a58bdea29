import type { Names } from '@jetlane/protocol';
import { bodyText } from './wire-message.js';

/** The part of a connection that is needed. */
interface Link {
  readonly names: Names;
  request(subject: string): Promise<{ readonly data: Uint8Array }>;
}

/** How long an answer is believed; clocks drift slowly. */
const BELIEVED_MS = 60_000;
/** Differences below this are as likely the way of the question as a clock that is off. */
const NEGLIGIBLE_MS = 250;
/** A step of the own clock beyond this is noticed at once, and made good without a question. */
const STEP_MS = 250;

/**
 * How far the server's clock is ahead of ours, in ms. Timers are the server's: a delay that is counted from the clock of a machine that
 * is ten minutes off would be ten minutes off too. Asked when a timer is set, once a minute at most; while the server does not say, the
 * last answer counts. A step of the own clock is seen by the clock that nobody sets. Test: server-clock.spec; chaos cell `clock-off`.
 */
export class ServerClock {
  private offset = 0;
  private askedAt = Number.NEGATIVE_INFINITY;
  /** Difference between the two clocks of this process: a step changes it. */
  private shift = 0;
  private asking: Promise<void> | undefined;

  constructor(
    private readonly connection: Link,
    private readonly now: () => number = () => Date.now(),
  ) {}

  /** A time of this process's clock, in ms since 1970, by the server's. */
  async toServer(ownMs: number): Promise<number> {
    if (this.askedAt === Number.NEGATIVE_INFINITY) await this.askOnce();
    else if (performance.now() - this.askedAt > BELIEVED_MS) void this.askOnce();
    this.follow();
    return ownMs + this.offset;
  }

  /** Our clock was set: the server's is as much further away. */
  private follow(): void {
    const shift = this.now() - performance.now();
    if (Math.abs(shift - this.shift) < STEP_MS) return;
    if (this.askedAt > Number.NEGATIVE_INFINITY) this.offset -= Math.round(shift - this.shift);
    this.shift = shift;
  }

  private askOnce(): Promise<void> {
    this.asking ??= this.ask().finally(() => {
      this.asking = undefined;
    });
    return this.asking;
  }

  private async ask(): Promise<void> {
    const began = performance.now();
    this.follow();
    try {
      const answer = await this.connection.request(`$JS.API.STREAM.INFO.${this.connection.names.schedules}`);
      const now = performance.now();
      const { ts } = JSON.parse(bodyText(answer)) as { ts?: string };
      // Halfway of the question, by the clock that nobody sets: ours may have been set meanwhile.
      this.follow();
      const offset = Date.parse(ts ?? '') - ((began + now) / 2 + this.shift);
      if (!Number.isFinite(offset)) return;
      this.offset = Math.abs(offset) < NEGLIGIBLE_MS ? 0 : Math.round(offset);
      this.askedAt = now;
    } catch {
      // The publish that follows says what is wrong with the link or the stream.
    }
  }
}
