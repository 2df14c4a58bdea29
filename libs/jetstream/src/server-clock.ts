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
/** A step of the own clock beyond this is noticed at once. */
const STEP_MS = 500;

/**
 * How far the server's clock is ahead of ours, in ms. Timers are the server's: a delay that is counted from the clock of a machine that
 * is ten minutes off would be ten minutes off too. Asked when a timer is set, once a minute and after every step of the own clock;
 * while the server does not say, the last answer counts. Test: server-clock.spec; chaos cell `clock-off`.
 */
export class ServerClock {
  private offset = 0;
  private askedAt = Number.NEGATIVE_INFINITY;
  /** Difference between the two clocks of this process when the server was asked last: a step changes it. */
  private shift = 0;
  private asking: Promise<void> | undefined;

  constructor(
    private readonly connection: Link,
    private readonly now: () => number = Date.now,
  ) {}

  /** A time of this process's clock, in ms since 1970, by the server's. */
  async toServer(ownMs: number): Promise<number> {
    const stepped = Math.abs(this.now() - performance.now() - this.shift) > STEP_MS;
    if (stepped || performance.now() - this.askedAt > BELIEVED_MS) {
      this.asking ??= this.ask().finally(() => {
        this.asking = undefined;
      });
      // The first answer, and the one after a step, is waited for; later ones come while the last still holds.
      if (stepped || this.askedAt === Number.NEGATIVE_INFINITY) await this.asking;
    }
    return ownMs + this.offset;
  }

  private async ask(): Promise<void> {
    const before = this.now();
    const { names } = this.connection;
    try {
      const answer = await this.connection.request(`$JS.API.STREAM.INFO.${names.schedules}`);
      const after = this.now();
      const { ts } = JSON.parse(bodyText(answer)) as { ts?: string };
      const offset = Date.parse(ts ?? '') - (before + after) / 2;
      if (!Number.isFinite(offset)) return;
      this.offset = Math.abs(offset) < NEGLIGIBLE_MS ? 0 : Math.round(offset);
      this.shift = after - performance.now();
      this.askedAt = performance.now();
    } catch {
      // The publish that follows says what is wrong with the link or the stream.
    }
  }
}
