import { bodyText, type Connection, type CoreMessage } from '@jetlane/jetstream';
import { type CancelNotice, type CancelReply, decodeCancelNotice, type GroupCancelNotice, type TaskCancelNotice } from '@jetlane/protocol';
import { decodeOrFail } from './execute.js';
import type { HeldTask } from './held-task.js';
import type { CompiledOptions } from './options.js';
import { Cancelled } from './task-context.js';

/** How long a notice is remembered, in ms: for tasks that are delivered between the notice and the purge. */
const REMEMBERED_MS = { task: 60_000, group: 300_000 } as const;
/** Most notices of each kind that are remembered; the oldest give way. */
const MOST = 10_000;
const FORGET_EVERY_MS = 10_000;

type Remembered<T> = T & { readonly until: number };

/**
 * What this worker was told to run no more. A notice reaches what it holds: handlers that run get their signal, what waits for
 * a slot is dropped; and it is remembered for what is still under way. A worker that missed it (core NATS promises nothing) finds
 * the record, at a redelivery or before a retry.
 */
export class Cancellations {
  private readonly tasks = new Map<string, Remembered<TaskCancelNotice>>();
  private readonly groups = new Map<string, Remembered<GroupCancelNotice>>();
  private unsubscribe: (() => void) | undefined;
  private forgetter: NodeJS.Timeout | undefined;

  /** @param held everything that the worker holds */
  constructor(
    private readonly connection: Connection,
    private readonly options: CompiledOptions,
    private readonly held: () => Iterable<HeldTask>,
  ) {}

  start(): void {
    this.unsubscribe = this.connection.subscribe(this.connection.names.cancels(this.options.queue), (message) => this.heard(message));
    this.forgetter = setInterval(() => this.forget(), FORGET_EVERY_MS);
    this.forgetter.unref();
  }

  stop(): void {
    this.unsubscribe?.();
    clearInterval(this.forgetter);
  }

  /** Fires the signal of a task about to run that is no longer wanted. */
  apply(task: HeldTask): void {
    if (this.tasks.size + this.groups.size === 0) return;
    const { group } = task.headers;
    for (const notice of [this.tasks.get(task.key), group === undefined ? undefined : this.groups.get(group)])
      if (notice && covers(notice, task)) cancel(task, notice.reason);
  }

  private heard(message: CoreMessage): void {
    const notice = decodeCancelNotice(bodyText(message));
    if (!notice) return;
    this.remember(notice);
    const reply = { worker: this.options.name, running: 0, ended: 0, dropped: 0, ...('group' in notice ? { keys: [] as string[] } : {}) };
    for (const task of this.held()) {
      // What waits for a slot has not been read yet.
      if (task.slot === 'free') decodeOrFail(task, this.options);
      if (!covers(notice, task)) continue;
      if (task.slot !== 'settling') cancel(task, notice.reason);
      if (task.slot === 'free') reply.dropped++;
      else reply.running++;
      if (task.slot === 'settling') reply.ended++;
      reply.keys?.push(task.key);
    }
    if (message.reply && reply.running + reply.dropped > 0)
      this.connection.send(message.reply, JSON.stringify(reply satisfies CancelReply));
  }

  private remember(notice: CancelNotice): void {
    if ('key' in notice) store(this.tasks, notice.key, notice, REMEMBERED_MS.task);
    else store(this.groups, notice.group, notice, REMEMBERED_MS.group);
  }

  private forget(): void {
    const now = performance.now();
    for (const notices of [this.tasks, this.groups]) for (const [name, { until }] of notices) if (now > until) notices.delete(name);
  }
}

function store<T>(notices: Map<string, Remembered<T>>, name: string, notice: T, forMs: number): void {
  notices.delete(name);
  notices.set(name, { ...notice, until: performance.now() + forMs });
  if (notices.size > MOST) for (const oldest of notices.keys()) return void notices.delete(oldest);
}

function covers(notice: CancelNotice, task: HeldTask): boolean {
  if ('key' in notice) return task.key === notice.key && task.headers.hop <= notice.hop;
  return task.headers.group === notice.group && task.delivery.streamSequence <= (notice.upTo[task.lane] ?? 0);
}

/** From now on its record is written by compare-and-set: one that is final already, as the canceller's, stands. */
function cancel(task: HeldTask, reason: string): void {
  if (task.recordSequence < 0) task.recordSequence = 0;
  task.abort(new Cancelled(reason));
}
