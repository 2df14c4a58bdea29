import { type Connection, type JsonBucket, openQueueBucket } from '@jetlane/jetstream';
import type { QueueDefinition } from '@jetlane/protocol';
import { RecentNames } from './recent-names.js';

/** How long an answer about a queue holds, in ms. */
const TRUSTED_MS = 2000;
/** Anybody who may set timers may make up names. */
const MOST_QUEUES = 1000;
/** A queue that is not asked for within this time has no more due tasks: those that are postponed come again sooner. */
const KEPT_MS = 60_000;
const TOLD_EVERY_MS = 10_000;

interface QueueState {
  /** When it was first found undefined; undefined while it is defined. */
  undefinedSince: number | undefined;
  askedAt: number;
  asking: Promise<void> | undefined;
}

/**
 * Tells queues that were deleted from queues whose streams are still to be made. A definition is looked for again and again for
 * a while, so that a queue which is defined anew keeps its timers. It has an eye on a thousand queues at a time: others have to wait, and count as
 * not deleted, until the tasks of these are dead letters. Were the oldest forgotten instead, of many none would ever reach the grace.
 */
export class DeletedQueues {
  private readonly queues = new RecentNames<QueueState>(MOST_QUEUES, fresh, KEPT_MS);
  private toldAt = Number.NEGATIVE_INFINITY;
  private untold = 0;
  private bucket: Promise<JsonBucket<QueueDefinition>> | undefined;

  /** @param onUnknown told of a queue at its first due task, at most every ten seconds; `others` were not told since */
  constructor(
    private readonly connection: Connection,
    private readonly graceMs: number,
    private readonly onUnknown: (queue: string, others: number) => void,
  ) {}

  /** True when the queue has had no definition for the grace. Asks the server at most every two seconds, once for all who wait. */
  async isDeleted(queue: string): Promise<boolean> {
    if (!this.queues.has(queue)) this.tell(queue);
    const state = this.queues.of(queue);
    if (!state) return false;
    if (performance.now() - state.askedAt >= TRUSTED_MS) {
      state.asking ??= this.ask(queue, state).finally(() => {
        state.asking = undefined;
      });
      await state.asking;
    }
    const { undefinedSince } = state;
    return undefinedSince !== undefined && performance.now() - undefinedSince >= this.graceMs;
  }

  private tell(queue: string): void {
    const now = performance.now();
    if (now - this.toldAt < TOLD_EVERY_MS) {
      this.untold++;
      return;
    }
    this.onUnknown(queue, this.untold);
    [this.toldAt, this.untold] = [now, 0];
  }

  private async ask(queue: string, state: QueueState): Promise<void> {
    this.bucket ??= openQueueBucket(this.connection).catch((error: unknown) => {
      this.bucket = undefined;
      throw error;
    });
    const defined = (await (await this.bucket).get(queue)) !== undefined;
    state.askedAt = performance.now();
    state.undefinedSince = defined ? undefined : (state.undefinedSince ?? state.askedAt);
  }
}

const fresh = (): QueueState => ({ undefinedSince: undefined, askedAt: Number.NEGATIVE_INFINITY, asking: undefined });
