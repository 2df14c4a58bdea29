import { decodeHeaders, headerValue, type Lane } from '@jetlane/protocol';
import type { ConsumerInfo, StreamInfo } from '@nats-io/jetstream';
import type { Connection } from './connection.js';
import { leaderGetNext } from './stored.js';
import { statusCode } from './wire-message.js';

/** What the server says about a lane. Costs two API requests, or three in topology `compact`: for overviews, never per task. */
export interface LaneInfo {
  readonly lane: Lane;
  /** Tasks in the lane, running ones among them. In topology `compact` some that the server gave up may be missing, but it is never 0 while one stands. */
  readonly depth: number;
  /** Handed out and not settled: running, buffered by a worker, or waiting for a lease to end. */
  readonly ackPending: number;
  /** Never handed out. */
  readonly pending: number;
  readonly redelivered: number;
  /** Pulls that wait for tasks. */
  readonly openPulls: number;
  /** When the oldest task was stored, ms since 1970. */
  readonly oldestAt: number | undefined;
  readonly paused: boolean;
  /** Highest stream sequence that was ever handed out. */
  readonly deliveredSequence: number;
  /** Stream sequence of the oldest task that stands there; one above the last when there is none. */
  readonly firstSequence: number;
  /** Stream sequence of the last task that was stored, in topology `compact` in any lane of the queue: nothing of this one is behind it. */
  readonly lastSequence: number;
}

/** Reads a lane's stream and consumer. @throws the client's API error when they are missing */
export async function laneInfo(connection: Connection, queue: string, lane: Lane): Promise<LaneInfo> {
  const { stream, consumer } = connection.names.lane(queue, lane);
  const { streams, consumers } = await connection.admin();
  const [about, reader] = await Promise.all([streams.info(stream), consumers.info(stream, consumer)]);
  return {
    lane,
    ...(await frontOf(connection, queue, lane, about, reader)),
    ackPending: reader.num_ack_pending,
    pending: reader.num_pending,
    redelivered: reader.num_redelivered,
    openPulls: reader.num_waiting,
    paused: reader.paused === true,
    deliveredSequence: reader.delivered.stream_seq,
    lastSequence: about.state.last_seq,
  };
}

/** How much stands in a lane, and its oldest task. A stream that holds several lanes does not tell; its leader reads the oldest. */
async function frontOf(
  connection: Connection,
  queue: string,
  lane: Lane,
  { state }: StreamInfo,
  { num_pending, num_ack_pending, num_redelivered }: ConsumerInfo,
): Promise<Pick<LaneInfo, 'depth' | 'oldestAt' | 'firstSequence'>> {
  const { stream, lanes } = connection.names.laneStream(queue, lane);
  if (state.messages === 0) return { depth: 0, oldestAt: undefined, firstSequence: state.last_seq + 1 };
  if (lanes.length === 1) return { depth: state.messages, oldestAt: Date.parse(String(state.first_ts)), firstSequence: state.first_seq };
  const oldest = await leaderGetNext(connection, stream, 1, connection.names.laneSubjects(queue, lane));
  if (!oldest) return { depth: 0, oldestAt: undefined, firstSequence: state.last_seq + 1 };
  const depth = Math.max(1, num_pending + Math.max(num_ack_pending, num_redelivered));
  return { depth, oldestAt: oldest.storedAt, firstSequence: oldest.sequence };
}

/** How many messages of a stream match a subject pattern, by one request with a small answer. */
export async function countMessages(connection: Connection, stream: string, pattern: string): Promise<number> {
  const answer = await connection.request(
    `$JS.API.DIRECT.GET.${stream}`,
    JSON.stringify({ seq: 1, batch: 1, next_by_subj: pattern }),
    2000,
  );
  if (statusCode(answer.headers) !== 0) return 0;
  return Number(headerValue(decodeHeaders(answer.headers), 'Nats-Num-Pending') ?? 0) + 1;
}
