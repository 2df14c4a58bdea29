import { type Connection, deleteMessage, leaderGet, type StoredMessage } from '@jetlane/jetstream';
import { encodeHeaders, HEADER, type MetricsSnapshot, WrongSequenceError } from '@jetlane/protocol';
import { BASE_ID, type BaseRecord, emptyBase, foldInto } from './base-record.js';
import { decodeBase, decodeSnapshot } from './decode.js';
import type { LiveWorkers } from './live-workers.js';

/** A worker that is silent for this long is folded into its queue's base. */
export const FOLD_AFTER_MS = 3_600_000;
/** The stream keeps nothing longer than a day: a base is written anew well before. */
const REFRESH_AFTER_MS = 3_600_000;

const text = new TextEncoder();

/** A snapshot in the stream. */
interface StoredSnapshot {
  readonly snapshot: MetricsSnapshot;
  readonly stored: StoredMessage;
}

/**
 * Folds workers that are gone into one base per queue, so that totals outlive both the workers and the day that the stream
 * keeps their snapshots. Order: the base is written first (compare-and-set: of several processes one wins, the others try
 * at the next round), then the snapshots are deleted. A crash between the two is harmless, since the base names the workers
 * that it contains.
 */
export class BaseKeeper {
  private readonly snapshots = new Map<string, StoredSnapshot>();
  private readonly bases = new Map<string, BaseRecord>();
  private readonly since = performance.now();

  constructor(
    private readonly connection: Connection,
    private readonly live: LiveWorkers,
    private readonly foldAfterMs = FOLD_AFTER_MS,
  ) {}

  /** Notes what the stream holds. */
  saw(stored: StoredMessage, snapshot: MetricsSnapshot): void {
    this.snapshots.set(stored.subject, { snapshot, stored });
  }

  sawBase(base: BaseRecord): void {
    this.bases.set(base.queue, base);
  }

  /** One round over all queues. Returns how many workers were folded. */
  async round(now = Date.now()): Promise<number> {
    if (!this.hasListened()) return 0;
    const gone = new Map<string, StoredSnapshot[]>();
    for (const entry of this.snapshots.values()) {
      const { queue, worker } = entry.snapshot;
      if (now - entry.stored.storedAt < this.foldAfterMs || this.live.lives(queue, worker)) continue;
      gone.set(queue, [...(gone.get(queue) ?? []), entry]);
    }
    for (const { queue, at } of this.bases.values()) {
      if (now - at >= REFRESH_AFTER_MS && !gone.has(queue)) gone.set(queue, []);
    }
    let folded = 0;
    for (const [queue, entries] of gone) folded += await this.fold(queue, entries, now);
    return folded;
  }

  /** Who has not listened for as long as a heartbeat may be late cannot tell a silent worker from one it did not hear. */
  private hasListened(): boolean {
    const { state, reconnectedAt } = this.connection;
    return state === 'connected' && performance.now() - Math.max(this.since, reconnectedAt) > 2 * this.live.silentMs;
  }

  private async fold(queue: string, entries: readonly StoredSnapshot[], now: number): Promise<number> {
    const { names } = this.connection;
    const subject = names.metric(queue, BASE_ID);
    const standing = await leaderGet(this.connection, names.metrics, subject);
    const base = (standing && decodeBase(standing)) ?? emptyBase(queue);
    const present = (await Promise.all(entries.map((entry) => this.stillStored(entry)))).filter((entry) => entry !== undefined);
    if (present.length === 0 && (!standing || now - base.at < REFRESH_AFTER_MS)) return 0;
    const next = foldInto(
      base,
      present.map(({ snapshot }) => snapshot),
      now,
    );
    try {
      const headers = encodeHeaders([[HEADER.expectedSubjectSequence, String(standing?.sequence ?? 0)]]);
      await this.connection.publish(subject, text.encode(JSON.stringify(next)), headers);
    } catch (error) {
      // Somebody else folds; what is left is looked at in the next round.
      if (error instanceof WrongSequenceError) return 0;
      throw error;
    }
    for (const { stored } of present) await this.remove(stored);
    return present.length;
  }

  /** The worker's last word, read from the leader; `undefined` when it is gone or has been replaced lately. */
  private async stillStored(entry: StoredSnapshot): Promise<StoredSnapshot | undefined> {
    const { subject, sequence } = entry.stored;
    const stored = await leaderGet(this.connection, this.connection.names.metrics, subject);
    if (!stored) this.snapshots.delete(subject);
    if (stored?.sequence !== sequence) return undefined;
    const snapshot = decodeSnapshot(stored);
    return snapshot && { snapshot, stored };
  }

  private async remove(stored: StoredMessage): Promise<void> {
    await deleteMessage(this.connection, this.connection.names.metrics, stored.sequence);
    this.snapshots.delete(stored.subject);
  }
}
