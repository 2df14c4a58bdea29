import {
  type Connection,
  deleteMessage,
  type InHand,
  inHand,
  laneInfo,
  mayBeInHand,
  type StoredMessage,
  scanStream,
  type TaskStore,
} from '@jetlane/jetstream';
import { type CancelReply, type GroupCancelNotice, HEADER, headerValue, LANES, type Lane } from '@jetlane/protocol';
import { type CancelOrder, recordCancelled } from './cancel.js';

/** What came of cancelling a group, as it was found: what workers have dropped before it was read is in neither count. */
export interface GroupCancellation {
  /** Waited or were scheduled, and will not run. */
  readonly cancelled: number;
  /** May have been in a worker's hand: it was told, and a later delivery finds the record. */
  readonly requested: number;
  /** False: the time was up before all was read; call again. */
  readonly complete: boolean;
}

export interface GroupName {
  readonly queue: string;
  readonly group: string;
}

export interface GroupOrder extends CancelOrder {
  readonly timeoutMs: number;
}

const AT_ONCE = 64;
/** How long workers may take to say what they hold. */
const REPLY_MS = 500;
/** Nothing is in anybody's hand. */
const NOBODY: InHand = { delivered: 0, storedBefore: 0 };

/**
 * Timers first, then due tasks, then the lanes up to what they held when the timers had been read: so a timer that fires
 * meanwhile is met in its lane. The workers are told before the lanes are read, by stream sequence, and drop what they hold and
 * what they get for five minutes. Each task: record, then removal of what nobody can hold.
 * Crash at any point: what has its record is cancelled as by `cancelTask`, the rest is as it was; calling again does the rest.
 * Not covered: tasks that a worker without a link publishes anew (a retry) after they were read, and a worker that starts after the notice
 * and gets a task that nobody had got before it is read.
 */
export async function cancelGroup(
  connection: Connection,
  store: TaskStore,
  { queue, group }: GroupName,
  order: GroupOrder,
): Promise<GroupCancellation> {
  const run = new GroupRun(connection, store, { queue, group }, order);
  const { names } = connection;
  await run.through(scanStream(connection, names.schedules, names.timer(queue, '*')), names.schedules, NOBODY);
  // The scheduler has these in hand, and drops what has its record.
  await run.through(scanStream(connection, names.schedules, names.pattern(`due.${queue}.*.*`)), undefined, NOBODY);
  const upTo = await lastSequences(connection, queue);
  const notice: GroupCancelNotice = { reason: order.reason, group, upTo };
  const replies = connection.gather(names.cancels(queue), JSON.stringify(notice), REPLY_MS).catch(() => []);
  for (const lane of LANES) {
    const { stream } = names.lane(queue, lane);
    const held = await inHand(connection, queue, lane);
    await run.through(scanStream(connection, stream, names.laneSubjects(queue, lane), upTo[lane]), stream, held);
  }
  return run.result((await replies).flatMap(readReply));
}

function readReply(message: { readonly data: Uint8Array }): CancelReply[] {
  try {
    return [JSON.parse(Buffer.from(message.data).toString()) as CancelReply];
  } catch {
    return [];
  }
}

async function lastSequences(connection: Connection, queue: string): Promise<Record<Lane, number>> {
  const infos = await Promise.all(LANES.map((lane) => laneInfo(connection, queue, lane)));
  return Object.fromEntries(infos.map(({ lane, lastSequence }) => [lane, lastSequence])) as Record<Lane, number>;
}

const keyOf = ({ subject }: StoredMessage): string => subject.slice(subject.lastIndexOf('.') + 1);

/** Counts what it did, and stops reading when its time is up. */
class GroupRun {
  private removed = 0;
  /** Keys of tasks that may be in somebody's hand. */
  private readonly held = new Set<string>();
  private complete = true;
  private readonly failures: unknown[] = [];
  private readonly deadline: number;

  constructor(
    private readonly connection: Connection,
    private readonly store: TaskStore,
    private readonly name: GroupName,
    private readonly order: GroupOrder,
  ) {
    this.deadline = performance.now() + order.timeoutMs;
  }

  /**
   * @param stream where what nobody can hold is removed from; undefined: left to the scheduler
   * @param held what may be in somebody's hand
   */
  async through(messages: AsyncIterable<StoredMessage>, stream: string | undefined, held: InHand): Promise<void> {
    const working = new Set<Promise<void>>();
    for await (const message of messages) {
      if (performance.now() > this.deadline) {
        this.complete = false;
        break;
      }
      if (headerValue(message.headers, HEADER.group) !== this.name.group) continue;
      const work: Promise<void> = this.cancel(message, mayBeInHand(message, held) ? undefined : stream)
        .catch((error: unknown) => this.failures.push(error))
        .then(() => void working.delete(work));
      working.add(work);
      if (working.size >= AT_ONCE) await Promise.race(working);
      if (this.failures.length > 0) break;
    }
    await Promise.all(working);
    if (this.failures.length > 0) throw this.failures[0];
  }

  /** Workers say what they held: what waited there for a slot will not run. */
  result(replies: readonly CancelReply[]): GroupCancellation {
    const sum = (count: (reply: CancelReply) => number) => replies.reduce((total, reply) => total + count(reply), 0);
    for (const { keys = [] } of replies) for (const key of keys) this.held.delete(key);
    return {
      cancelled: this.removed + sum(({ dropped }) => dropped),
      requested: this.held.size + sum(({ running }) => running),
      complete: this.complete,
    };
  }

  private async cancel(message: StoredMessage, stream: string | undefined): Promise<void> {
    const { queue } = this.name;
    if (!(await recordCancelled(this.store, { queue, key: keyOf(message) }, message, this.order))) return;
    if (stream && (await deleteMessage(this.connection, stream, message.sequence))) this.removed++;
    else this.held.add(keyOf(message));
  }
}
