import {
  type Connection,
  consumerState,
  deleteMessage,
  directGetBatch,
  hopOf,
  leaderGet,
  type StoredMessage,
  type TaskStore,
} from '@jetlane/jetstream';
import { isFinal, type Lane, type QueueDefinition, QueueFullError, type StateRecord, WrongSequenceError } from '@jetlane/protocol';
import { cancelledRecord } from './cancel.js';
import { recordLife } from './new-task.js';

/** Why a task's record says `cancelled` that made room for a newer one. */
export const DROPPED = 'dropped';
/** Most tasks that one round drops. */
const MOST = 128;
/** How long a task goes on after what others make of the room, in ms; then it is told that the lane is full. */
const PATIENCE_MS = 10_000;
/** Rounds in a row that found nothing to drop after which all are told that the lane is full: what is in it is in workers' hands. */
const FRUITLESS = 2;

/** Somebody whose task waits for room. */
interface Waiter {
  readonly publish: () => Promise<unknown>;
  readonly until: number;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

interface Lost {
  readonly message: StoredMessage;
  /** Sequence of the record that says so; 0 where one said so before. */
  readonly sequence: number;
  readonly before?: StateRecord;
}

/**
 * Makes room in a full lane of a queue whose `dropBehavior` is `drop-oldest`: the oldest tasks that nobody was handed are cancelled, one for
 * each task that waits for room. The stream itself always refuses, since it would throw away running tasks as well.
 */
export class LaneDropper {
  private waiting: Waiter[] = [];
  private running = false;

  constructor(
    private readonly connection: Connection,
    private readonly store: TaskStore,
    readonly definition: QueueDefinition,
    private readonly lane: Lane,
  ) {}

  /**
   * Publishes when there is room, in the order of the calls.
   * @throws QueueFullError when nothing can be dropped: all that is in the lane is in workers' hands
   */
  retry(publish: () => Promise<unknown>): Promise<void> {
    return new Promise((done, failed) => {
      this.waiting.push({ publish, until: performance.now() + PATIENCE_MS, done, failed });
      void this.run();
    });
  }

  private async run(): Promise<void> {
    if (this.running) return;
    this.running = true;
    for (let fruitless = 0; this.waiting.length > 0; ) {
      try {
        const dropped = await this.drop(Math.min(MOST, this.waiting.length));
        fruitless = dropped === undefined ? fruitless + 1 : 0;
        // With nothing to drop a worker may have made room meanwhile: one tries.
        const full = await this.publishFirst(Math.max(1, dropped ?? 0));
        if (full && fruitless >= FRUITLESS) this.giveUp(full);
      } catch (error) {
        this.giveUp(error);
      }
    }
    this.running = false;
  }

  /** @returns the refusal, when all of them found the lane full */
  private async publishFirst(count: number): Promise<unknown> {
    const first = this.waiting.splice(0, count);
    const refused: Waiter[] = [];
    let full: unknown;
    await Promise.all(
      first.map(async (waiter) => {
        try {
          await waiter.publish();
          waiter.done();
        } catch (error) {
          if (!(error instanceof QueueFullError) || performance.now() > waiter.until) return waiter.failed(error);
          refused.push(waiter);
          full = error;
        }
      }),
    );
    this.waiting.unshift(...refused);
    return refused.length === first.length ? full : undefined;
  }

  private giveUp(error: unknown): void {
    for (const { failed } of this.waiting.splice(0)) failed(error);
  }

  /**
   * Crash before the records: nothing happened. Between record and deletion: status and result() say cancelled, and the task, being the
   * oldest, is the next to be dropped, or runs as any cancelled task that a worker gets first. Test: drop-oldest.spec.
   * @returns how many were dropped here; undefined when there was none that nobody holds
   */
  private async drop(count: number): Promise<number | undefined> {
    const { connection, definition, lane } = this;
    const { stream, consumer } = connection.names.lane(definition.name, lane);
    const delivered = async () => (await consumerState(connection, stream, consumer))?.deliveredSequence ?? 0;
    const from = (await delivered()) + 1;
    const subject = connection.names.laneSubjects(definition.name, lane);
    const { messages } = await directGetBatch(connection, stream, { subject, from: { sequence: from }, batch: count });
    if (messages.length === 0) return undefined;
    const written = await Promise.all(messages.map((message) => this.writeDropped(message)));
    // Lanes hand out in order: what is behind the last delivered message is in nobody's hand.
    const taken = await delivered();
    const dropped = await Promise.all(written.map((lost) => lost && this.settle(lost, stream, lost.message.sequence <= taken)));
    return dropped.filter(Boolean).length;
  }

  /** `undefined` where somebody else writes about the task at this moment. */
  private async writeDropped(message: StoredMessage): Promise<Lost | undefined> {
    const queue = this.definition.name;
    const key = message.subject.split('.').at(-1) ?? '';
    const hop = hopOf(message);
    const { record, sequence } = await this.store.record(queue, key, leaderGet);
    if (record && isFinal(record.state) && record.hop >= hop) return { message, sequence: 0 };
    try {
      const dropped = cancelledRecord(
        { queue, key },
        hop,
        { reason: DROPPED, keepPayload: this.definition.keepPayload ?? false },
        record,
        message,
      );
      const { seq } = await this.store.writeRecord(queue, key, dropped, recordLife(this.definition), sequence);
      return { message, sequence: seq, ...(record ? { before: record } : {}) };
    } catch (error) {
      if (error instanceof WrongSequenceError) return undefined;
      throw error;
    }
  }

  /**
   * One that a worker got meanwhile is not dropped: what was written about it is taken back, unless the worker has written since.
   * @returns whether this made room
   */
  private async settle({ message, sequence, before }: Lost, stream: string, taken: boolean): Promise<boolean> {
    if (!taken) return deleteMessage(this.connection, stream, message.sequence);
    if (sequence > 0 && before) await this.putBack(message, before, sequence);
    else if (sequence > 0) await deleteMessage(this.connection, this.connection.names.taskStates, sequence);
    return false;
  }

  private async putBack({ subject }: StoredMessage, before: StateRecord, sequence: number): Promise<void> {
    const [queue, key] = [this.definition.name, subject.split('.').at(-1) ?? ''];
    await this.store.writeRecord(queue, key, before, recordLife(this.definition), sequence).catch((error: unknown) => {
      if (!(error instanceof WrongSequenceError)) throw error;
    });
  }
}
