import { type Connection, countMessages, laneInfo } from '@jetlane/jetstream';
import { LANES, type Lane } from '@jetlane/protocol';

/** One lane in an overview. */
export interface LaneStats {
  /** Tasks in the lane, running ones among them. */
  readonly depth: number;
  /** Handed out and not settled. */
  readonly ackPending: number;
  /** Age of the oldest task, ms; null when the lane is empty. */
  readonly oldestAgeMs: number | null;
}

/** A queue in an overview. */
export interface QueueStats {
  readonly queue: string;
  readonly lanes: Readonly<Record<Lane, LaneStats>>;
  readonly depth: number;
  /** Handed out and not settled, over all lanes. */
  readonly active: number;
  /** Timers that will put a task into this queue. */
  readonly scheduled: number;
  /** Dead letters of this queue. */
  readonly dead: number;
  readonly paused: boolean;
}

/** Asks the server about one queue: ten small requests, for overviews only. */
export async function readQueueStats(connection: Connection, queue: string): Promise<QueueStats> {
  const { names } = connection;
  const [infos, scheduled, dead] = await Promise.all([
    Promise.all(LANES.map((lane) => laneInfo(connection, queue, lane))),
    countMessages(connection, names.schedules, names.timer(queue, '*')),
    countMessages(connection, names.deadLetters, names.dead(queue, '*')),
  ]);
  const now = Date.now();
  const lanes = Object.fromEntries(
    infos.map(({ lane, depth, ackPending, oldestAt }) => [
      lane,
      { depth, ackPending, oldestAgeMs: oldestAt === undefined ? null : Math.max(0, now - oldestAt) },
    ]),
  ) as Record<Lane, LaneStats>;
  return {
    queue,
    lanes,
    depth: infos.reduce((sum, info) => sum + info.depth, 0),
    active: infos.reduce((sum, info) => sum + info.ackPending, 0),
    scheduled,
    dead,
    paused: infos.every((info) => info.paused),
  };
}
