import { isLane, type Lane } from '@jetlane/protocol';
import type { ConsumerInfo } from '@nats-io/jetstream';
import type { Connection } from './connection.js';
import { apiCode } from './ensure.js';

const CONSUMER_NOT_FOUND = 10014;
const STREAM_NOT_FOUND = 10059;

/** A lane's stream as the server lists it: many in one answer, so that an overview of a thousand queues costs few requests. */
export interface ListedLane {
  readonly queue: string;
  readonly lane: Lane;
  readonly stream: string;
  /** Tasks in the lane, running ones among them. */
  readonly depth: number;
  readonly bytes: number;
  readonly firstSequence: number;
  readonly lastSequence: number;
  /** When the oldest task was stored, ms since 1970; undefined when the lane is empty. */
  readonly oldestAt: number | undefined;
  /** False when the consumer of the workers is missing. */
  readonly hasConsumer: boolean;
}

/** All lanes of this installation, or of a queue; up to 256 per request. */
export async function listLanes(connection: Connection, queue = '*'): Promise<ListedLane[]> {
  const { streams } = await connection.admin();
  const lanes: ListedLane[] = [];
  for await (const { config, state } of streams.list(connection.names.pattern(`tasks.${queue}.>`))) {
    const parsed = connection.names.parseLaneStream(config.name);
    if (!parsed || !isLane(parsed.lane)) continue;
    lanes.push({
      queue: parsed.queue,
      lane: parsed.lane,
      stream: config.name,
      depth: state.messages,
      bytes: state.bytes,
      firstSequence: state.first_seq,
      lastSequence: state.last_seq,
      oldestAt: state.messages > 0 ? Date.parse(String(state.first_ts)) : undefined,
      hasConsumer: state.consumer_count > 0,
    });
  }
  return lanes;
}

/** Lanes that are being made anew, or whose mover died. One request. */
export async function lanesInMotion(connection: Connection): Promise<{ queue: string; lane: string }[]> {
  const { streams } = await connection.admin();
  const found: { queue: string; lane: string }[] = [];
  for await (const { config } of streams.list(connection.names.pattern('moving.>'))) {
    const [queue = '', lane = ''] = connection.names.tokens(config.subjects?.[0] ?? '');
    found.push({ queue, lane });
  }
  return found;
}

/** In the metadata of a consumer that was made when nobody held anything. An update of the consumer takes it away, which only costs a lease of caution. */
export const KNOWS_ALL = 'jetlane-knows-all';

/** What a consumer has handed out and what came back. */
export interface ConsumerState {
  /** Handed out and not settled. */
  readonly ackPending: number;
  /** Never handed out. */
  readonly pending: number;
  /** Messages that were handed out more than once and are not settled, given-up ones among them. */
  readonly redelivered: number;
  readonly maxAckPending: number;
  readonly openPulls: number;
  readonly paused: boolean;
  /** While it is paused: up to when, ms since 1970 by the server's clock. */
  readonly pausedUntil: number | undefined;
  /** Highest stream sequence that was ever handed out. */
  readonly deliveredSequence: number;
  /** Nothing at or below this stream sequence is in anybody's hand. */
  readonly ackFloor: number;
  /** When it was made, ms since 1970: a consumer that was deleted and made again hands everything out anew. */
  readonly createdAt: number;
  /** It was made when nobody held anything of its stream, so that it knows of all that is in somebody's hand. */
  readonly knowsAll: boolean;
  /** Name of the server that leads it; empty on a single server. */
  readonly leader: string;
  /** How long after each delivery the server waits for a sign of life, in ms; the last entry holds for all further ones. */
  readonly backoffMs: readonly number[];
  readonly maxDeliveries: number;
}

/** The state of a consumer, or `undefined` when it or its stream is missing. One API request. */
export async function consumerState(connection: Connection, stream: string, consumer: string): Promise<ConsumerState | undefined> {
  const { consumers } = await connection.admin();
  try {
    return stateOf(await consumers.info(stream, consumer));
  } catch (error) {
    if ([CONSUMER_NOT_FOUND, STREAM_NOT_FOUND].includes(apiCode(error))) return undefined;
    throw error;
  }
}

function stateOf(info: ConsumerInfo): ConsumerState {
  return {
    ackPending: info.num_ack_pending,
    pending: info.num_pending,
    redelivered: info.num_redelivered,
    maxAckPending: info.config.max_ack_pending ?? 0,
    openPulls: info.num_waiting,
    paused: info.paused === true,
    pausedUntil: info.paused && info.config.pause_until ? Date.parse(info.config.pause_until) : undefined,
    deliveredSequence: info.delivered.stream_seq,
    ackFloor: info.ack_floor.stream_seq,
    createdAt: Date.parse(String(info.created)),
    knowsAll: info.config.metadata?.[KNOWS_ALL] !== undefined,
    leader: info.cluster?.leader ?? '',
    backoffMs: (info.config.backoff?.length ? info.config.backoff : [info.config.ack_wait ?? 0]).map((nanos) => nanos / 1_000_000),
    maxDeliveries: info.config.max_deliver ?? -1,
  };
}

/** True when a stream exists. One API request. */
export async function streamExists(connection: Connection, stream: string): Promise<boolean> {
  const { streams } = await connection.admin();
  try {
    await streams.info(stream);
    return true;
  } catch (error) {
    if (apiCode(error) === STREAM_NOT_FOUND) return false;
    throw error;
  }
}

/** What a stream holds. */
export interface StreamState {
  /** When it was made, as the server writes it: one that was deleted and made anew counts from 1 again. */
  readonly created: string;
  readonly messages: number;
  readonly firstSequence: number;
  readonly lastSequence: number;
}

/** The state of a stream. One API request. */
export async function streamState(connection: Connection, stream: string): Promise<StreamState> {
  const { streams } = await connection.admin();
  const { created, state } = await streams.info(stream);
  return { created: String(created), messages: state.messages, firstSequence: state.first_seq, lastSequence: state.last_seq };
}
