import { type Connection, type Delivery, deathHeaders, isOver, leaderGet, TaskStore } from '@jetlane/jetstream';
import { decodeHeaders, isFinal, JetlaneError, LANE_DEFAULTS, QueueFullError, UnknownQueueError } from '@jetlane/protocol';
import { DeletedQueues } from './deleted-queues.js';
import { type DueTask, readDueTask } from './due-task.js';
import { Gate } from './gate.js';
import { LaneWatch } from './lane-watch.js';
import { Undertaker } from './undertaker.js';

/**
 * What became of a due task. `moved`: it is in its lane. `known`: this hop had been moved before. `dropped`: its record
 * says that it is settled. `postponed`: a new timer stands. `dead`: a dead letter stands. `malformed`: it names no task.
 */
export type Fate = 'moved' | 'known' | 'dropped' | 'postponed' | 'dead' | 'malformed';

/** Where a mover writes what an operator should know. */
export interface MoverLog {
  /** Something was survived. */
  warn(facts: object, event: string): void;
  /** Something failed. */
  error(facts: object, event: string): void;
}

/** How due tasks are moved. */
export interface DueMoverOptions {
  readonly log: MoverLog;
  /** How long a queue must have been undefined before its due tasks become dead letters, in ms. Default 60,000. */
  readonly unknownQueueMs?: number;
}

const LOOKS_AT_ONCE = 32;
const UNKNOWN_LANE_MS = 15_000;
const UNKNOWN_QUEUE_MS = 60_000;

/**
 * Puts a due task into its lane, so that it is there exactly once. It never acks: the caller does, after `move` resolved.
 *
 * Crash before the publish: the due message comes again, nothing has happened. Between publish and ack: it comes again
 * with a count above 1, and the look finds the lane's copy, or what became of it. After the ack: done.
 * Tests: scheduler.spec "killed between publish and ack", "killed after the task was worked off".
 */
export class DueMover {
  private readonly store: TaskStore;
  private readonly lanes: LaneWatch;
  private readonly looks = new Gate(LOOKS_AT_ONCE);
  private readonly deleted: DeletedQueues;
  private readonly undertaker: Undertaker;

  constructor(
    private readonly connection: Connection,
    private readonly options: DueMoverOptions,
  ) {
    this.store = new TaskStore(connection);
    this.lanes = new LaneWatch(connection);
    this.undertaker = new Undertaker(connection, this.store);
    const told = (queue: string, others: number) => options.log.warn({ queue, others }, 'due:unknown-queue');
    this.deleted = new DeletedQueues(connection, options.unknownQueueMs ?? UNKNOWN_QUEUE_MS, told);
  }

  /** Does all that has to be written for a due task. What it throws means: nothing is known, leave the message to its lease. */
  async move(delivery: Delivery): Promise<{ readonly fate: Fate; readonly task?: DueTask }> {
    const task = readDueTask(this.connection.names, delivery);
    if (!task) {
      await this.keepMalformed(delivery);
      return { fate: 'malformed' };
    }
    return { fate: await this.decide(task, delivery), task };
  }

  // A stranger wrote where only timers fire. It was confirmed to him, so it is kept, under a name that no queue can have.
  // Crash between dead letter and ack: the same letter is written again, under the same subject.
  private async keepMalformed(delivery: Delivery): Promise<void> {
    const { subject, streamSequence, data } = delivery;
    this.options.log.error({ subject }, 'due:malformed');
    const error = {
      name: 'JetlaneError',
      code: 'invalid-argument',
      message: `"${subject}" names no queue, lane and key; publish tasks to tasks.<queue>.<lane>.<key>`,
    };
    const death = {
      reason: error.code,
      error,
      at: Date.now(),
      source: { stream: this.connection.names.schedules, sequence: streamSequence },
      lane: undefined,
      type: undefined,
    };
    await this.store.publishDead('_malformed', `due-${streamSequence}`, {
      headers: decodeHeaders(delivery.headers),
      data,
      hop: 1,
      extra: deathHeaders(death),
    });
  }

  private async decide(task: DueTask, delivery: Delivery): Promise<Fate> {
    if (this.mayBeKnown(delivery)) {
      if (await this.isKnown(task)) return 'known';
    } else if (await this.isSettled(task)) return 'dropped';
    if (!(await this.lanes.exists(task.queue, task.lane))) return this.unknownLane(task, delivery);
    try {
      return await this.publish(task);
    } catch (error) {
      return this.refused(task, delivery, error);
    }
  }

  /** A redelivery; or, after a reconnect, any delivery: a killed server hands out anew what had been acked. */
  private mayBeKnown(delivery: Delivery): boolean {
    const { reconnectedAt } = this.connection;
    return delivery.count > 1 || (reconnectedAt > 0 && performance.now() - reconnectedAt < LANE_DEFAULTS.duplicateWindowMs);
  }

  /** One direct get per task. Measured per core of this process: 10,700 moves a second with it, 17,000 without. */
  private async isSettled({ queue, key, hop }: DueTask): Promise<boolean> {
    const { record } = await this.store.record(queue, key);
    return record !== undefined && (record.hop > hop || (record.hop === hop && isFinal(record.state)));
  }

  /** True when this hop is in a lane, or over. Asks the leaders; few at a time, since each look is eight requests. */
  private async isKnown(task: DueTask): Promise<boolean> {
    const traces = await this.looks.run(() => this.store.traces(task.queue, task.key, leaderGet));
    return isOver(traces, task.hop) || traces.copies.some((copy) => copy.place === 'lane' && copy.hop >= task.hop);
  }

  // Crash before: nothing happened. After: see the class. Test: scheduler.spec "killed between publish and ack".
  private async publish(task: DueTask): Promise<Fate> {
    const ack = await this.store.publishTask(task.queue, task.lane, task.key, task);
    this.lanes.seen(task.queue, task.lane);
    if (!ack.duplicate) return 'moved';
    return this.alreadyPublished(task);
  }

  /**
   * The lane remembers this hop, and the rule is to believe that only on sight of the task or of what became of it. The
   * second look is for a worker that wrote its record between our two reads. Nothing twice means that it was worked off
   * with no record kept, or purged, or that its key was used again after its record had expired. They cannot be told
   * apart, and a second run is the lesser evil than a lost task: it goes to the lane again, under the next hop.
   */
  private async alreadyPublished(task: DueTask): Promise<Fate> {
    if ((await this.isKnown(task)) || (await this.isKnown(task))) return 'known';
    await this.store.publishTask(task.queue, task.lane, task.key, { ...task, hop: task.hop + 1 });
    return 'moved';
  }

  private async refused(task: DueTask, delivery: Delivery, error: unknown): Promise<Fate> {
    if (error instanceof QueueFullError) {
      this.lanes.seen(task.queue, task.lane);
      return this.postpone(task, this.lanes.postponement(task.queue, task.lane));
    }
    if (!(error instanceof JetlaneError)) throw error;
    if (error.code === 'no-responders') {
      this.lanes.doubt(task.queue, task.lane);
      return (await this.lanes.exists(task.queue, task.lane))
        ? this.postpone(task, this.lanes.postponement(task.queue, task.lane))
        : this.unknownLane(task, delivery);
    }
    if (error.code === 'payload-too-large') return this.bury(task, delivery, error);
    throw error;
  }

  /** A lane that does not stand yet is waited for; one whose queue is defined no more never will. */
  private async unknownLane(task: DueTask, delivery: Delivery): Promise<Fate> {
    if (await this.deleted.isDeleted(task.queue)) return this.bury(task, delivery, new UnknownQueueError(task.queue));
    return this.postpone(task, UNKNOWN_LANE_MS * (1 + Math.random()));
  }

  // Crash before the timer: nothing happened. Between timer and ack: the due message comes again, and the look finds the
  // timer of the higher hop, or what became of it. A timer of a higher hop that stands already is as good as ours.
  // Test: scheduler.spec "killed between postponement and ack".
  private async postpone(task: DueTask, delayMs: number): Promise<Fate> {
    await this.store.setTimer({ ...task, at: Date.now() + delayMs, hop: task.hop + 1 });
    return 'postponed';
  }

  private async bury(task: DueTask, delivery: Delivery, error: JetlaneError): Promise<Fate> {
    await this.undertaker.bury(task, delivery, error);
    return 'dead';
  }
}
