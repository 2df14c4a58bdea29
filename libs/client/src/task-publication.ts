import { Publication } from '@jetlane/jetstream';
import { formatTaskId, QueueFullError } from '@jetlane/protocol';
import type { ActiveSend } from '@jetlane/telemetry';
import type { PublishTask } from './idempotency.js';
import { firstHop, type NewTask, type PreparedTask, type Receipt } from './new-task.js';

/** Told of one task among many. */
export interface SendListener {
  readonly stored: (receipt: Receipt, index: number) => void;
  readonly failed: (error: unknown, index: number) => void;
}

/** Neither an idempotency key nor a delay: nothing has to be written or looked up beside the task. */
export const isPlain = (task: NewTask): boolean => task.key === undefined && task.delay === undefined;

/** A task that is being sent, and who is told. */
interface Sending {
  readonly task: PreparedTask;
  readonly trace: ActiveSend;
  readonly index: number;
  readonly listener: SendListener;
  /** Makes room in a full lane and publishes again, where the queue drops the oldest. */
  readonly publish: PublishTask | undefined;
}

/** A task on its way into its lane. */
export class TaskPublication extends Publication {
  constructor(
    subject: string,
    private readonly sending: Sending,
  ) {
    super(subject, sending.task.data, firstHop(sending.task, sending.trace));
  }

  confirmed(): void {
    const { task, trace, index, listener } = this.sending;
    trace.end();
    listener.stored(receiptOf(task, 'queued', false), index);
  }

  refused(error: Error): void {
    const { task, publish } = this.sending;
    if (publish === undefined || !(error instanceof QueueFullError)) return this.failed(error);
    publish(task, this.headers as string).then(
      () => this.confirmed(),
      (final: unknown) => this.failed(final),
    );
  }

  private failed(error: unknown): void {
    this.sending.trace.end(error);
    this.sending.listener.failed(error, this.sending.index);
  }
}

/** What the caller of an enqueue is told. */
export const receiptOf = ({ queue, key, lane }: PreparedTask, state: Receipt['state'], duplicate: boolean): Receipt => ({
  id: formatTaskId(queue, key),
  queue,
  lane,
  state,
  duplicate,
});
