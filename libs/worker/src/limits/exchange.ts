import { type BucketChange, type Connection, type JsonBucket, openLimitsBucket } from '@jetlane/jetstream';
import type { WorkerLog } from '../options.js';
import { BEAT_MS, type ShareEntry, type ShareKeeper } from './shares.js';

/** Least time between two entries when a group needs its first share, in ms. */
const URGENT_MS = 25;
/** An entry that does not come back for so long: the watch has ended, or the link is bad. */
const SILENCE_MS = 3000;
const RETRY_MS = 500;

/** What the exchange works with, and whom it tells. */
export interface ExchangeParts {
  readonly connection: Connection;
  readonly queue: string;
  readonly keeper: ShareKeeper;
  readonly log: WorkerLog;
  /** Before an entry is written. @returns starts of the queue's rate that were not needed, since the beginning */
  readonly beat: (now: number) => number;
  /** An entry was seen: shares may have changed. `offered`: starts that another worker did not need. */
  readonly changed: (offered: number) => void;
}

/**
 * Writes a worker's entry to the bucket `limits` once a second, and follows those of all workers of its queue.
 * States: new → running (start) → stopped (stop).
 */
export class ShareExchange {
  private bucket: JsonBucket<ShareEntry> | undefined;
  private revision = 0;
  private stopWatch: (() => void) | undefined;
  private stopListening: (() => void) | undefined;
  private timer: NodeJS.Timeout | undefined;
  private wroteAt = Number.NEGATIVE_INFINITY;
  private stopped = false;
  private opening: Promise<void> | undefined;

  constructor(private readonly parts: ExchangeParts) {}

  start(): void {
    // After a reconnect the watch would find out by itself, but seconds later.
    this.stopListening = this.parts.connection.onState((state) => state === 'connected' && this.reopen());
    this.reopen();
  }

  /** Ends it; the shares are free at once. */
  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    this.stopListening?.();
    await this.opening;
    this.stopWatch?.();
    if (this.bucket && this.parts.connection.state === 'connected')
      await this.bucket.put(this.key, { n: 0, claims: {}, gone: true }).catch(() => undefined);
  }

  /** A group needs its first share: the entry is written at once, and not at the next second. */
  hurry(): void {
    if (this.stopWatch) this.arm(Math.max(0, this.wroteAt + URGENT_MS - performance.now()), true);
  }

  private get key(): string {
    return `${this.parts.queue}.${this.parts.keeper.self}`;
  }

  private reopen(): void {
    if (this.opening || this.stopped) return;
    this.opening = this.open()
      .catch((error: unknown) => {
        this.parts.log.warn({ queue: this.parts.queue, error: String(error) }, 'limits:not-exchanged');
        this.stopWatch = undefined;
      })
      .finally(() => {
        this.opening = undefined;
        this.arm(this.stopWatch ? 0 : RETRY_MS);
      });
  }

  /** Own entries that the watch brings before it is ready prove nothing: what was written before them may have been replaced since. */
  private async open(): Promise<void> {
    const { connection, keeper, queue } = this.parts;
    this.stopWatch?.();
    this.stopWatch = undefined;
    keeper.lost();
    this.bucket ??= await openLimitsBucket<ShareEntry>(connection);
    // Something for the watch to bring, so that it can tell when it has brought all.
    if (this.revision === 0) await this.bucket.put(this.key, { n: 0, claims: {} });
    const { ready, stop } = await this.bucket.watch((change) => this.observed(change), `${queue}.*`);
    this.stopWatch = stop;
    await ready;
    this.revision = (await this.bucket.get(this.key))?.revision ?? 0;
  }

  private observed({ key, value, revision }: BucketChange<ShareEntry>): void {
    const member = key.slice(this.parts.queue.length + 1);
    if (member === this.parts.keeper.self) this.revision = revision;
    const offered = this.parts.keeper.observed(member, value, performance.now());
    this.parts.changed(offered);
  }

  private arm(delayMs: number, sooner = false): void {
    if (this.stopped || (sooner && this.parts.keeper.waiting)) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.beat(), delayMs);
  }

  private beat(): void {
    const { keeper, connection } = this.parts;
    const now = performance.now();
    this.arm(BEAT_MS);
    if (now - keeper.sentAt > SILENCE_MS) keeper.lost();
    if (connection.state !== 'connected') return;
    if (!this.stopWatch) return this.reopen();
    if (keeper.waiting) return;
    this.wroteAt = now;
    void this.write(keeper.next(now, this.parts.beat(now)));
  }

  /**
   * Only over the own entry that was seen last: a copy that lingered in a broken link must not replace a later entry. Crash
   * before or after: the entry is as good as none when others have not heard of this worker for two seconds.
   */
  private async write(entry: ShareEntry): Promise<void> {
    try {
      const written = await this.bucket!.update(this.key, entry, this.revision);
      if (written === undefined) throw new Error("somebody else wrote this worker's entry");
    } catch (error) {
      this.parts.keeper.lost();
      this.parts.log.warn({ queue: this.parts.queue, error: String(error) }, 'limits:not-written');
      this.stopWatch?.();
      this.stopWatch = undefined;
      this.arm(RETRY_MS);
    }
  }
}
