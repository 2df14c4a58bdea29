import { JetlaneError } from '@jetlane/protocol';
import { JetStreamApiError } from '@nats-io/jetstream';
import { NoRespondersError, RequestError, TimeoutError } from '@nats-io/nats-core';

/** How long one goes on asking, in ms: several elections. */
const DEADLINE_MS = 30_000;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1000;

/**
 * Does something again as long as nobody answers. On a cluster a new stream has no leader for some hundred ms, and a request that meets an
 * election gets no answer at all, though it may have been carried out; so what is done must be idempotent.
 * @throws what the last try threw
 */
export async function untilAnswered<T>(step: () => Promise<T>): Promise<T> {
  const end = performance.now() + DEADLINE_MS;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    try {
      return await step();
    } catch (error) {
      if (!isUnanswered(error) || performance.now() + pause > end) throw error;
    }
    // Several processes that began together shall not go on together.
    await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random())));
  }
}

function isUnanswered(error: unknown): boolean {
  if (error instanceof JetlaneError) return error.code === 'jetstream-api' && isUnanswered(error.cause);
  // The client's name for "nobody answers", which it does not export.
  if (error instanceof Error && error.name === 'JetStreamNotEnabled') return true;
  if (error instanceof NoRespondersError || error instanceof TimeoutError) return true;
  if (error instanceof RequestError) return isUnanswered(error.cause) || error.isNoResponders();
  if (!(error instanceof JetStreamApiError)) return false;
  return error.status === 503 ? !REFUSALS.has(error.code) : error.code === NO_PEERS && error.message.includes('offline');
}

/** No suitable peers; those that are offline may be about to come, as when a cluster is starting. */
const NO_PEERS = 10005;

/** Answers of status 503 that are meant: no room on the servers, no JetStream for this account. */
const REFUSALS: ReadonlySet<number> = new Set([10023, 10039, 10076, 10077]);
