import { LANES } from '@jetlane/protocol';
import type { Connection } from './connection.js';
import { apiCode, removeStream } from './ensure.js';
import { countMessages } from './lane-info.js';
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
  const streams = LANES.flatMap((lane) => [names.lane(queue, lane).stream, names.movingStream(queue, lane)]);
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
  for (const lane of LANES) {
    const subjects = [connection.names.sealedLane(queue, lane)];
    await orMissing(() => untilAnswered(() => streams.update(connection.names.lane(queue, lane).stream, { subjects })));
  }
}

/** Deletes the lanes with all that is in them, and the timers. */
export async function deleteLanes(connection: Connection, queue: string): Promise<void> {
  const { names } = connection;
  const { streams } = await connection.admin();
  for (const filter of [names.timer(queue, '*'), names.pattern(`due.${queue}.>`)]) await streams.purge(names.schedules, { filter });
  for (const lane of LANES) {
    await removeStream(connection, names.movingStream(queue, lane));
    await removeStream(connection, names.lane(queue, lane).stream);
  }
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
