import { type Connection, deleteMessage, hopOf, leaderGet, type StoredMessage, type TaskStore, type TaskTraces } from '@jetlane/jetstream';
import {
  formatTaskId,
  HEADER,
  headerValue,
  isFinal,
  JetlaneError,
  type Lane,
  type StateRecord,
  stripServerHeaders,
  type TaskId,
  WrongSequenceError,
  withHeaders,
} from '@jetlane/protocol';
import { type CancelOrder, recordCancelled } from './cancel.js';

/** A task that waits in a lane, or for its timer, as it was read there. */
export interface WaitingTask {
  readonly id: TaskId;
  readonly stream: string;
  readonly message: StoredMessage;
  /** False when somebody may be handed it: then nothing more is begun, but what was begun is ended. Default: always true. */
  readonly inTime?: (() => boolean) | undefined;
  /** Resolves when those before it were sent; moved tasks keep their order that way. Default: at once. */
  readonly before?: Promise<void> | undefined;
  /** Told when it was sent itself. */
  readonly onSent?: (() => void) | undefined;
}

/** Where a task is moved to. */
export interface Destination {
  readonly queue: string;
  readonly lane: Lane;
  /** Type of tasks that name none, of the queue that they come from: another queue has another one. */
  readonly defaultType?: string | undefined;
  /** The next one is sent when this one is confirmed, so that none is overtaken that is refused and sent again. Default false. */
  readonly strict?: boolean;
}

/**
 * Throws away a task that nobody holds: record, then delete by sequence.
 * Crash before the record: nothing happened. Between record and delete: the task stands in its lane and says `cancelled`; whoever goes on
 * with the purge finds the record and only deletes; if a worker gets it first it runs, and its record says how it ended. After the
 * delete: done. Tests: steer-takeover.spec "purge".
 * @param order undefined: the queue keeps no record of it
 * @returns false when it was gone, or is settled and only waits for its ack
 */
export async function purgeTask(
  connection: Connection,
  store: TaskStore,
  { id, stream, message, inTime }: WaitingTask,
  order?: CancelOrder,
): Promise<boolean> {
  assertInTime(id, inTime);
  if (order && !(await recordCancelled(store, id, message, order))) return false;
  return deleteMessage(connection, stream, message.sequence);
}

/**
 * Moves a task that nobody holds to another lane or queue, one hop higher: publish, PubAck, in another queue a record under the old id,
 * delete by sequence.
 * Crash before the publish: nothing happened. Between publish and delete: the task stands in both places; whoever goes on with the move
 * finds the copy of the higher hop, or its record, and only removes the source; if a worker gets the source first it runs twice. After the
 * delete: done. Tests: steer-move-takeover.spec.
 * @param order for the record under the old id; undefined: the queue keeps none, or the task keeps its id
 * @returns false when it had been moved before, and now only the source was removed; or is cancelled or settled, and was left alone
 * @throws QueueFullError, JetlaneError `idempotency-conflict` when another task has its key there, `payload-too-large`, `publish-timeout`,
 *   `request-timeout` when it may be handed out by now
 */
export async function moveTask(
  connection: Connection,
  store: TaskStore,
  waiting: WaitingTask,
  to: Destination,
  order?: CancelOrder,
): Promise<boolean> {
  const { id, stream, message, inTime } = waiting;
  const { record } = await store.record(id.queue, id.key, leaderGet);
  assertInTime(id, inTime);
  const settled = record && isFinal(record.state) && record.hop === hopOf(message);
  // Cancelled, or settled and without its ack: a higher hop would bring it back to life. Its own record of this move says that it is there.
  if (settled && record.reason !== order?.reason) return false;
  const moved = !settled && (await new Move(store, waiting, to).publish());
  if (order && !settled) await recordCancelled(store, id, message, order);
  await deleteMessage(connection, stream, message.sequence);
  return moved;
}

class Move {
  private readonly id: TaskId;
  private readonly message: StoredMessage;
  private readonly hop: number;
  private readonly created: string | undefined;

  constructor(
    private readonly store: TaskStore,
    private readonly task: WaitingTask,
    private readonly to: Destination,
  ) {
    this.id = task.id;
    this.message = task.message;
    const { message } = task;
    this.hop = hopOf(message) + 1;
    this.created = headerValue(message.headers, HEADER.createdAt);
  }

  /** @returns false when it stands there already */
  async publish(): Promise<boolean> {
    if (await this.stands()) return false;
    const { key } = this.id;
    const headers = stripServerHeaders(this.message.headers);
    const type = headerValue(headers, HEADER.type) ?? this.to.defaultType;
    const task = { headers: withHeaders(headers, { [HEADER.type]: type }), data: this.message.data, hop: this.hop };
    await this.task.before;
    assertInTime(this.id, this.task.inTime);
    const sent = this.store.publishTask(this.to.queue, this.to.lane, key, {
      ...task,
      stillWanted: () => this.task.inTime?.() ?? true,
    });
    if (!this.to.strict) this.task.onSent?.();
    const ack = await sent;
    this.task.onSent?.();
    // The server remembers the id: believed only on sight of the task, or of what became of it.
    if (!ack.duplicate) return true;
    if (await this.stands()) return false;
    throw new JetlaneError('publish-timeout', `task "${formatTaskId(this.to.queue, key)}" was moved a moment ago and cannot be seen`, {
      details: { id: formatTaskId(this.to.queue, key) },
    });
  }

  /** True when this hop was published. Another task under the same key is not run over. */
  private async stands(): Promise<boolean> {
    for (;;) {
      const traces = await this.store.traces(this.to.queue, this.id.key, leaderGet);
      if (this.to.queue !== this.id.queue && this.isOther(traces)) throw this.conflict();
      if (this.livesOn(traces)) return true;
      if (this.to.queue === this.id.queue || (await this.reserve(traces))) return false;
    }
  }

  /** What was only reserved is not published yet. */
  private livesOn({ copies, record }: TaskTraces): boolean {
    if (copies.some((copy) => copy.hop >= this.hop)) return true;
    return record !== undefined && (record.hop > this.hop || (record.hop === this.hop && isFinal(record.state)));
  }

  private isOther({ copies, record }: TaskTraces): boolean {
    const createds = copies.map(({ stored }) => headerValue(stored.headers, HEADER.createdAt));
    if (record) createds.push(record.at.created === undefined ? undefined : String(record.at.created));
    return createds.some((created) => created !== this.created);
  }

  /** A key that its producer gave is taken in the other queue from here on. @returns false when somebody came between */
  private async reserve({ record, recordSequence }: TaskTraces): Promise<boolean> {
    const { headers, storedAt } = this.message;
    const hash = headerValue(headers, HEADER.hash);
    if (hash === undefined || record) return true;
    const { queue, lane } = this.to;
    const at = { ...(this.created === undefined ? {} : { created: Number(this.created) }), stored: storedAt };
    const attempt = Number(headerValue(headers, HEADER.attempt)) || 1;
    const reserved: StateRecord = { id: formatTaskId(queue, this.id.key), hop: this.hop, lane, state: 'queued', attempt, at, hash };
    try {
      await this.store.writeRecord(queue, this.id.key, reserved, RESERVED_MS, recordSequence);
      return true;
    } catch (error) {
      if (!(error instanceof WrongSequenceError)) throw error;
      return false;
    }
  }

  private conflict(): JetlaneError {
    const id = formatTaskId(this.to.queue, this.id.key);
    return new JetlaneError(
      'idempotency-conflict',
      `queue "${this.to.queue}" has another task of this key, "${id}"; it stays where it is`,
      {
        details: { id },
      },
    );
  }
}

function assertInTime({ queue, key }: TaskId, inTime: WaitingTask['inTime']): void {
  if (inTime?.() ?? true) return;
  const id = formatTaskId(queue, key);
  throw new JetlaneError('request-timeout', `task "${id}" may be handed out by now; it is tried again`, {
    retryable: true,
    details: { id },
  });
}

/** As long as a key is remembered by default. */
const RESERVED_MS = 86_400_000;
