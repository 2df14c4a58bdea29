import { decodeHeaders, headerValue, type Lane } from '@jetlane/protocol';
import type { Connection } from './connection.js';
import { statusCode } from './wire-message.js';

/** What the server says about a lane. Costs two API requests: for overviews, never per task. */
export interface LaneInfo {
  readonly lane: Lane;
  /** Tasks in the lane, running ones among them. */
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
  /** Stream sequence of the last task that was stored. */
  readonly lastSequence: number;
  readonly bytes: number;
}

/** Reads a lane's stream and consumer. @throws the client's API error when they are missing */
export async function laneInfo(connection: Connection, queue: string, lane: Lane): Promise<LaneInfo> {
  const { stream, consumer } = connection.names.lane(queue, lane);
  const { streams, consumers } = await connection.admin();
  const [about, reader] = await Promise.all([streams.info(stream), consumers.info(stream, consumer)]);
  return {
    lane,
    depth: about.state.messages,
    ackPending: reader.num_ack_pending,
    pending: reader.num_pending,
    redelivered: reader.num_redelivered,
    openPulls: reader.num_waiting,
    oldestAt: about.state.messages > 0 ? Date.parse(String(about.state.first_ts)) : undefined,
    paused: reader.paused === true,
    deliveredSequence: reader.delivered.stream_seq,
    firstSequence: about.state.messages > 0 ? about.state.first_seq : about.state.last_seq + 1,
    lastSequence: about.state.last_seq,
    bytes: about.state.bytes,
  };
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
