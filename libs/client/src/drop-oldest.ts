import {
  type Connection,
  deleteMessage,
  directGetBatch,
  type HeldLane,
  holdEnd,
  holdingLane,
  hopOf,
  inHand,
  isResting,
  laneState,
  leaderGet,
  leaderGetNext,
  mayBeInHand,
  type StoredMessage,
  type TaskStore,
} from '@jetlane/jetstream';
import {
  isFinal,
  JetlaneError,
  LANE_DEFAULTS,
  type Lane,
  type QueueDefinition,
  QueueFullError,
  WrongSequenceError,
} from '@jetlane/protocol';
import { cancelledRecord } from './cancel.js';
import { recordLife } from './new-task.js';

/** Why a task's record says `cancelled` that made room for a newer one. */
export const DROPPED = 'dropped';
/** Most tasks that one round drops; a large lane is freed of a hundredth at once, since the lane stands still for each round. */
const MOST = 256;
const SHARE = 0.01;
/** Most tasks that wait for room in a lane here; as many wait for the server at most. */
const MOST_WAITING = 65_536;
/** How long a task goes on after what others make of the room, in ms; then it is told that the lane is full. */
const PATIENCE_MS = 10_000;
/** Rounds in a row that found nothing to drop after which all are told that the lane is full: what is in it is in workers' hands. */
const FRUITLESS = 2;

/** What came of a look into a lane: how many tasks were dropped; that all of it is in hand, or it is empty; or that nobody can tell. */
type Dropped = number | 'none' | 'unsure';

/** Somebody whose task waits for room. */
interface Waiter {
  readonly publish: () => Promise<unknown>;
  readonly until: number;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

/**
 * Makes room in a full lane of a queue whose `dropBehavior` is `drop-oldest`: the oldest tasks that nobody was handed are cancelled, one for
 * each task that waits for room. The stream itself always refuses, since it would throw away running tasks as well. Where the lanes share
 * one stream, and so its limits, those of the lowest lane go first, and never one of a higher lane than the new task's, nor one while a lower
 * lane may hold any that could go.
 */
export class LaneDropper {
  private waiting: Waiter[] = [];
  private running = false;
  /** Taken from those who wait, to be published now. */
  private trying = 0;

  constructor(
    private readonly connection: Connection,
    private readonly store: TaskStore,
    readonly definition: QueueDefinition,
    private readonly lane: Lane,
    private readonly mostWaiting = MOST_WAITING,
  ) {}

  /**
   * Publishes when there is room, in the order of the calls.
   * @throws QueueFullError when nothing can be dropped: all that is in the lane is in workers' hands, or was stored before its consumer was
   *   made anew, less than a lease ago, or it has none now; JetlaneError `publisher-overloaded` when too many wait here already
   */
  retry(publish: () => Promise<unknown>): Promise<void> {
    if (this.waiting.length + this.trying >= this.mostWaiting) return Promise.reject(this.overloaded());
    return new Promise((done, failed) => {
      this.waiting.push({ publish, until: performance.now() + PATIENCE_MS, done, failed });
      void this.run();
    });
  }

  private get share(): number {
    return Math.floor((this.definition.maxDepth ?? LANE_DEFAULTS.maxDepth) * SHARE);
  }

  private async run(): Promise<void> {
    if (this.running) return;
    this.running = true;
    let fruitless = 0;
    for (let tries = 1; this.waiting.length > 0; ) {
      try {
        const full = await this.publishFirst(tries);
        if (full === undefined) {
          // Workers have made room: as long as there is any nothing need be dropped.
          tries = Math.min(2 * tries, MOST);
          fruitless = 0;
        } else if (fruitless >= FRUITLESS) this.giveUp(full);
        else {
          const dropped = await this.drop(Math.min(MOST, Math.max(this.waiting.length, this.share)));
          fruitless = typeof dropped === 'number' ? 0 : fruitless + 1;
          tries = typeof dropped === 'number' ? Math.max(1, dropped) : 1;
        }
      } catch (error) {
        this.giveUp(error);
      }
    }
    this.running = false;
  }

  /** @returns the refusal, when any of them found the lane full */
  private async publishFirst(count: number): Promise<unknown> {
    const first = this.waiting.splice(0, count);
    this.trying = first.length;
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
    this.trying = 0;
    this.waiting.unshift(...refused);
    return full;
  }

  private overloaded(): JetlaneError {
    const { name: queue } = this.definition;
    const message = `${this.mostWaiting} tasks already wait for room in queue "${queue}"; slow down and try again`;
    return new JetlaneError('publisher-overloaded', message, { details: { queue, lane: this.lane } });
  }

  private giveUp(error: unknown): void {
    for (const { failed } of this.waiting.splice(0)) failed(error);
  }

  private async drop(count: number): Promise<Dropped> {
    const { lanes } = this.connection.names.laneStream(this.definition.name, this.lane);
    for (const lane of lanes.slice(lanes.indexOf(this.lane)).reverse()) {
      const dropped = await this.dropOf(lane, count);
      if (dropped !== 'none') return dropped;
    }
    return 'none';
  }

  /**
   * Drops while the lane is held, so that nobody can be handed a task whose record says `cancelled`. Crash before the records: nothing
   * happened. Between record and deletion: status and result() say cancelled, and the task, being the oldest, is the next to be dropped,
   * or runs as any cancelled task that a worker gets first, and its record says how it ended. The hold ends by itself.
   * Tests: drop-oldest-crash.spec.
   */
  private async dropOf(lane: Lane, count: number): Promise<Dropped> {
    const { connection, definition } = this;
    const state = await laneState(connection, definition.name, lane);
    // It has lost its consumer: nobody knows what that had handed out, unless the lane is empty.
    if (!state) return (await this.isEmpty(lane)) ? 'none' : 'unsure';
    // All that is there is in somebody's hand.
    if (state.pending === 0) return 'none';
    if (!(await isResting(connection, state)))
      return holdingLane(connection, definition.name, lane, (held) => this.dropHeld(lane, count, held));
    const until = holdEnd();
    return this.dropHeld(lane, count, { ...(await inHand(connection, definition.name, lane, state)), until });
  }

  private async isEmpty(lane: Lane): Promise<boolean> {
    const { names } = this.connection;
    const { name } = this.definition;
    return (await leaderGetNext(this.connection, names.lane(name, lane).stream, 1, names.laneSubjects(name, lane))) === undefined;
  }

  private async dropHeld(lane: Lane, count: number, held: HeldLane): Promise<Dropped> {
    const { connection, definition } = this;
    const { stream } = connection.names.lane(definition.name, lane);
    const subject = connection.names.laneSubjects(definition.name, lane);
    const from = { sequence: held.delivered + 1 };
    const { messages } = await directGetBatch(connection, stream, { subject, from, batch: count });
    const free = messages.filter((message) => !mayBeInHand(message, held));
    // Taken by workers meanwhile, which the next look sees; or stored before the consumer was made anew.
    if (free.length === 0) return 'unsure';
    const dropped = await Promise.all(free.map((message) => this.dropOne(stream, message, () => performance.now() < held.until)));
    return dropped.filter(Boolean).length;
  }

  /** @returns whether it made room: not when somebody else writes about the task at this moment, or the hold is about to end */
  private async dropOne(stream: string, message: StoredMessage, inTime: () => boolean): Promise<boolean> {
    const queue = this.definition.name;
    const key = message.subject.split('.').at(-1) ?? '';
    const { record, sequence } = await this.store.record(queue, key, leaderGet);
    if (!inTime()) return false;
    if (!record || !isFinal(record.state) || record.hop < hopOf(message)) {
      const what = { reason: DROPPED, keepPayload: this.definition.keepPayload ?? false };
      const dropped = cancelledRecord({ queue, key }, hopOf(message), what, record, message);
      try {
        await this.store.writeRecord(queue, key, dropped, recordLife(this.definition), sequence);
      } catch (error) {
        if (error instanceof WrongSequenceError) return false;
        throw error;
      }
    }
    return inTime() && deleteMessage(this.connection, stream, message.sequence);
  }
}
