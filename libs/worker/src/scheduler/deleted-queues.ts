import { type Connection, type JsonBucket, openQueueBucket } from '@jetlane/jetstream';
import type { QueueDefinition } from '@jetlane/protocol';

/** How long an answer about a queue holds, in ms. */
const TRUSTED_MS = 2000;

interface QueueState {
  /** When it was first found undefined; undefined while it is defined. */
  undefinedSince: number | undefined;
  askedAt: number;
  asking: Promise<void> | undefined;
}

/**
 * Tells queues that were deleted from queues whose streams are still to be made. A definition is looked for again and again for
 * a while, so that a queue which is defined anew keeps its timers.
 */
export class DeletedQueues {
  private readonly queues = new Map<string, QueueState>();
  private bucket: Promise<JsonBucket<QueueDefinition>> | undefined;

  constructor(
    private readonly connection: Connection,
    private readonly graceMs: number,
    private readonly onUnknown: (queue: string) => void,
  ) {}

  /** True when the queue has had no definition for the grace. Asks the server at most every two seconds, once for all who wait. */
  async isDeleted(queue: string): Promise<boolean> {
    const state = this.stateOf(queue);
    if (performance.now() - state.askedAt >= TRUSTED_MS) {
      state.asking ??= this.ask(queue, state).finally(() => {
        state.asking = undefined;
      });
      await state.asking;
    }
    const { undefinedSince } = state;
    return undefinedSince !== undefined && performance.now() - undefinedSince >= this.graceMs;
  }

  private stateOf(queue: string): QueueState {
    let state = this.queues.get(queue);
    if (!state) {
      this.onUnknown(queue);
      state = { undefinedSince: undefined, askedAt: Number.NEGATIVE_INFINITY, asking: undefined };
      this.queues.set(queue, state);
    }
    return state;
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
