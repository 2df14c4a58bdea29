import type { Lane, LaneStream } from '@jetlane/protocol';
import type { ConsumerInfo, StreamInfo } from '@nats-io/jetstream';
import type { Connection } from './connection.js';
import { permissionDenied } from './denials.js';
import { ANSWER_MS, apiCode } from './ensure.js';
import { countMessages } from './lane-info.js';
import { directGetNext } from './stored.js';

const CONSUMER_NOT_FOUND = 10014;
const STREAM_NOT_FOUND = 10059;

/** Streams that are looked into at a time. */
const AT_ONCE = 16;

/** A stream of tasks as the server lists it: many in one answer, so that an overview of a thousand queues costs few requests. */
export interface ListedStream extends LaneStream {
  /** Tasks in all its lanes, running and given-up ones among them. */
  readonly depth: number;
  readonly bytes: number;
  /** Undefined: it has no such limit. */
  readonly maxDepth: number | undefined;
  readonly maxBytes: number | undefined;
  readonly firstSequence: number;
  /** When the oldest task was stored, ms since 1970; undefined when there is none. */
  readonly oldestAt: number | undefined;
  readonly consumers: number;
}

/** A lane in an overview. */
export interface ListedLane {
  readonly queue: string;
  readonly lane: Lane;
  readonly stream: string;
  /** The consumer of the workers, if it were there. */
  readonly consumer: string;
  /** Tasks in the lane, running and given-up ones among them; in topology `compact` added up from what its consumer counts. */
  readonly depth: number;
  /** When the oldest task was stored, ms since 1970; undefined when the lane is empty. */
  readonly oldestAt: number | undefined;
  /** Of the consumer, where the depth was learnt from it: in topology `compact`; undefined where the queue is empty, or it did not answer. */
  readonly state?: ConsumerState | undefined;
  /** Its consumer was asked and did not answer. */
  readonly silent?: boolean;
}

/** All streams of tasks of this installation, or of a queue; up to 256 per request. */
export async function listLaneStreams(connection: Connection, queue = '*'): Promise<ListedStream[]> {
  const { streams } = await connection.admin();
  const found: ListedStream[] = [];
  for await (const info of streams.list(connection.names.pattern(`tasks.${queue}.>`))) {
    const place = connection.names.parseLaneStream(info.config.name);
    if (place) found.push({ ...place, ...holdings(info) });
  }
  return found;
}

function holdings({ config, state }: StreamInfo): Omit<ListedStream, keyof LaneStream> {
  const limit = (value: number) => (value < 0 ? undefined : value);
  return {
    depth: state.messages,
    bytes: state.bytes,
    maxDepth: limit(config.max_msgs),
    maxBytes: limit(config.max_bytes),
    firstSequence: state.first_seq,
    oldestAt: state.messages > 0 ? Date.parse(String(state.first_ts)) : undefined,
    consumers: state.consumer_count,
  };
}

/** All lanes of this installation, or of a queue. In topology `compact` eight more small requests for each queue that holds tasks. */
export async function listLanes(connection: Connection, queue = '*'): Promise<ListedLane[]> {
  const streams = await listLaneStreams(connection, queue);
  const lanes: ListedLane[] = [];
  for (let i = 0; i < streams.length; i += AT_ONCE)
    lanes.push(...(await Promise.all(streams.slice(i, i + AT_ONCE).map((stream) => lanesOf(connection, stream)))).flat());
  return lanes;
}

/** True when its lanes cannot be told apart without further requests: it holds tasks, and several lanes. */
export const isShared = ({ lanes, depth }: ListedStream): boolean => lanes.length > 1 && depth > 0;

/**
 * The lanes of a listed stream: no further request, or eight where it {@link isShared}. A consumer that does not answer, as while its leader is
 * elected, hides nothing: then the stream is counted, or the lane is taken for what no other lane accounts for.
 */
export async function lanesOf(connection: Connection, listed: ListedStream): Promise<ListedLane[]> {
  const { queue, stream, lanes, depth, oldestAt } = listed;
  const places = lanes.map((lane) => ({ queue, lane, ...connection.names.lane(queue, lane) }));
  if (!isShared(listed)) return places.map((place) => ({ ...place, depth, oldestAt }));
  const states = await Promise.all(
    places.map(({ consumer }) => orUnknown(connection, consumerState(connection, stream, consumer, ANSWER_MS))),
  );
  // What no consumer counts was given up after several deliveries, or has gone since the stream was asked.
  let uncounted = states.reduce((left, state) => left - reach(state), depth);
  return Promise.all(
    places.map(async (place, i) => {
      const state = states[i];
      const subject = connection.names.laneSubjects(queue, place.lane);
      const givenUp = Math.max(0, Math.min(uncounted, state?.redelivered ?? 0));
      uncounted -= givenUp;
      const counted = state ? reach(state) + givenUp : await orUnknown(connection, countMessages(connection, stream, subject));
      const share = counted ?? Math.max(0, uncounted);
      if (!state) uncounted -= share;
      const oldest = share > 0 ? await orUnknown(connection, directGetNext(connection, stream, 1, subject)) : undefined;
      return { ...place, depth: share, oldestAt: oldest?.storedAt, state: state ?? undefined, silent: state === null };
    }),
  );
}

/**
 * Nobody answers for a stream that was deleted since it was listed, or while a leader is elected: that is of one lane. A link that is down, and a
 * permission that is missing, are of all.
 */
function orUnknown<T>(connection: Connection, answer: Promise<T>): Promise<T | null> {
  return answer.catch((error: unknown) => {
    const denied = permissionDenied(error);
    if (denied || connection.state !== 'connected') throw denied ?? error;
    return null;
  });
}

/** Tasks that a consumer will still hand out, or has handed out. */
const reach = (state: ConsumerState | undefined | null): number => (state ? state.pending + state.ackPending : 0);

/** Queues of which a stream is being made anew, or whose mover died. One request. */
export async function queuesInMotion(connection: Connection): Promise<string[]> {
  const { streams } = await connection.admin();
  const found = new Set<string>();
  for await (const { config } of streams.list(connection.names.pattern('moving.>')))
    found.add(connection.names.tokens(config.subjects?.[0] ?? '')[0] ?? '');
  return [...found];
}

/**
 * In the metadata of a consumer that was made when nobody held anything. Updates leave it there, and it stays true: all that was handed out
 * since then, that consumer has handed out. One that is deleted and made anew has none. Test: lane-move.spec "knows at once".
 */
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

/**
 * The state of a consumer, or `undefined` when it or its stream is missing. One API request.
 * @param answerMs how long it may go unanswered. Default 10 s
 */
export async function consumerState(
  connection: Connection,
  stream: string,
  consumer: string,
  answerMs?: number,
): Promise<ConsumerState | undefined> {
  const { consumers } = await connection.admin(answerMs);
  try {
    return stateOf(await consumers.info(stream, consumer));
  } catch (error) {
    if ([CONSUMER_NOT_FOUND, STREAM_NOT_FOUND].includes(apiCode(error))) return undefined;
    throw error;
  }
}

/** Up to when a consumer is paused, ms since 1970; undefined: it is not. */
export const pausedUntil = ({ paused, config }: ConsumerInfo): number | undefined =>
  paused && config.pause_until ? Date.parse(config.pause_until) : undefined;

function stateOf(info: ConsumerInfo): ConsumerState {
  return {
    ackPending: info.num_ack_pending,
    pending: info.num_pending,
    redelivered: info.num_redelivered,
    maxAckPending: info.config.max_ack_pending ?? 0,
    openPulls: info.num_waiting,
    paused: info.paused === true,
    pausedUntil: pausedUntil(info),
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
