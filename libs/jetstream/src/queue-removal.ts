import type { Connection } from './connection.js';
import { apiCode, removeStream } from './ensure.js';
import { countMessages } from './lane-info.js';
import { deleteMessage } from './stored.js';
import { scanInBatches } from './stored-batch.js';
import { untilAnswered } from './until-answered.js';

const STREAM_NOT_FOUND = 10059;

/** What a queue holds that would be lost with it. */
export interface HeldTasks {
  /** In lanes, running ones among them. */
  readonly tasks: number;
  /** Delayed ones and retries, those that are due among them. */
  readonly timers: number;
}

/** Counts what a queue holds, whether its lanes are sealed or not. */
export async function countHeld(connection: Connection, queue: string): Promise<HeldTasks> {
  const { names } = connection;
  // While a lane is moved, the side stream may hold what is nowhere else.
  const streams = names.laneStreams(queue).flatMap(({ stream, side }) => [stream, side]);
  const lanes = await Promise.all(streams.map((stream) => depthOf(connection, stream)));
  const [timers, due] = await Promise.all([
    countMessages(connection, names.schedules, names.timer(queue, '*')),
    countMessages(connection, names.schedules, names.pattern(`due.${queue}.>`)),
  ]);
  return { tasks: lanes.reduce((sum, depth) => sum + depth, 0), timers: timers + due };
}

/** Lanes take no more tasks: who publishes one hears that nobody listens, and tries again. Provisioning the queue opens them. */
export async function sealLanes(connection: Connection, queue: string): Promise<void> {
  const { streams } = await connection.admin();
  for (const { stream, lanes } of connection.names.laneStreams(queue)) {
    const subjects = lanes.map((lane) => connection.names.sealedLane(queue, lane));
    await orMissing(() => untilAnswered(() => streams.update(stream, { subjects })));
  }
}

/** Deletes the lanes with all that is in them, and the timers. */
export async function deleteLanes(connection: Connection, queue: string): Promise<void> {
  const { names } = connection;
  // The order of the way: a timer that fires meanwhile is met among what is due.
  for (const subject of [names.timer(queue, '*'), names.pattern(`due.${queue}.>`)])
    await deleteMatching(connection, names.schedules, subject);
  for (const { stream, side } of names.laneStreams(queue)) {
    await removeStream(connection, side);
    await removeStream(connection, stream);
  }
}

/**
 * By sequence: the consumer of the timers serves all queues, and a purge by subject would take from the schedulers what they have in hand of
 * the others, for ever. Test: queue-removal.spec "what is due of other queues".
 */
async function deleteMatching(connection: Connection, stream: string, subject: string): Promise<void> {
  await scanInBatches(connection, stream, subject, ({ sequence }) => deleteMessage(connection, stream, sequence));
}

async function depthOf(connection: Connection, stream: string): Promise<number> {
  const { streams } = await connection.admin();
  return (await orMissing(() => streams.info(stream)))?.state.messages ?? 0;
}

async function orMissing<T>(call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (apiCode(error) === STREAM_NOT_FOUND) return undefined;
    throw error;
  }
}
