import { type CancelOrder, cancelOrder, moveTask, purgeTask, type TaskClient, type WaitingTask } from '@jetlane/client';
import { type Connection, type StoredMessage, TaskStore } from '@jetlane/jetstream';
import { formatTaskId, HEADER, headerValue, isLane, JetlaneError, laneIn, type QueueDefinition, type QueueJob } from '@jetlane/protocol';
import { type Place, whereIs } from './selection.js';

/** What became of one task of a job. */
export type TaskFate = 'done' | 'held' | 'skipped';

type Found = Pick<WaitingTask, 'message'> & WhenToAct;

/** False of `inTime`: its lane may hand it out again, and nothing more is begun. `before` and `onSent` keep the order of moved tasks. */
export type WhenToAct = Pick<WaitingTask, 'inTime' | 'before' | 'onSent'>;

/** What jobs do with one task. */
export class TaskActs {
  private readonly store: TaskStore;

  constructor(
    readonly connection: Connection,
    private readonly client: TaskClient,
  ) {
    this.store = new TaskStore(connection);
  }

  /** @throws UnknownQueueError */
  definition(queue: string): Promise<QueueDefinition> {
    return this.client.definition(queue);
  }

  /**
   * Deals with a task of a job; of a lane only with one that nobody holds, but for a cancellation.
   */
  act(job: QueueJob, place: Place, message: StoredMessage, when: WhenToAct = {}): Promise<TaskFate> {
    switch (job.kind) {
      case 'purge':
        return this.purge(job, place, { message, ...when });
      case 'move':
        return this.move(job, place, { message, ...when });
      case 'cancel':
        return this.cancel(job, message);
      case 'drain':
        throw new JetlaneError('internal', 'a drain deals with no task');
    }
  }

  private async purge({ queue, reason = 'purged' }: QueueJob, place: Place, found: Found): Promise<TaskFate> {
    const order = recordOrder(await this.definition(queue), found.message, reason);
    const purged = await purgeTask(this.connection, this.store, this.waiting(queue, place, found), order);
    return purged ? 'done' : 'skipped';
  }

  private async move({ queue, to }: QueueJob, place: Place, found: Found): Promise<TaskFate> {
    if (!to || !isLane(place)) throw new JetlaneError('internal', 'only tasks of a lane can be moved, and only to somewhere');
    const task = this.waiting(queue, place, found);
    const definition = await this.definition(queue);
    const elsewhere = to.queue !== queue;
    const order = elsewhere ? recordOrder(definition, found.message, `moved to ${formatTaskId(to.queue, task.id.key)}`) : undefined;
    const destination = await this.definition(to.queue);
    const target = {
      queue: to.queue,
      lane: laneIn(destination, to.lane) ?? place,
      strict: destination.discipline === 'fifo',
      defaultType: elsewhere ? definition.defaultType : undefined,
    };
    return (await moveTask(this.connection, this.store, task, target, order)) ? 'done' : 'skipped';
  }

  private async cancel({ queue, reason = 'cancelled' }: QueueJob, message: StoredMessage): Promise<TaskFate> {
    try {
      const answer = await this.client.cancel(formatTaskId(queue, keyOf(message)), { reason });
      return answer === 'cancelled' ? 'done' : answer === 'requested' ? 'held' : 'skipped';
    } catch (error) {
      if (error instanceof JetlaneError && error.code === 'task-not-found') return 'skipped';
      throw error;
    }
  }

  private waiting(queue: string, place: Place, found: Found): WaitingTask {
    const id = { queue, key: keyOf(found.message) };
    return { ...found, id, stream: whereIs(this.connection, queue, place).stream };
  }
}

const keyOf = ({ subject }: StoredMessage): string => subject.slice(subject.lastIndexOf('.') + 1);

/** A queue that keeps no records keeps one of a task whose key the caller gave all the same: later uses of the key are answered from it. */
function recordOrder(definition: QueueDefinition, message: StoredMessage, reason: string): CancelOrder | undefined {
  if (definition.keep === 'none' && headerValue(message.headers, HEADER.hash) === undefined) return undefined;
  return cancelOrder(definition, reason);
}
