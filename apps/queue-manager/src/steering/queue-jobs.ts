import type { TaskClient } from '@jetlane/client';
import { type Connection, JobKeeper, type JobLog } from '@jetlane/jetstream';
import {
  type CommandInput,
  JetlaneError,
  laneIn,
  parseTaskId,
  type QueueJob,
  type QueuePreview,
  STEERING_COMMANDS,
  STEERING_LIMITS,
  type TaskSelection,
  toMs,
} from '@jetlane/protocol';
import { look } from './drain.js';
import { preview } from './preview.js';
import { queueWork } from './queue-work.js';
import { countLeft, type Place, planPlaces } from './selection.js';
import { TaskActs } from './task-acts.js';

export interface QueueJobsOptions {
  readonly log: JobLog;
  /** As in `JobKeeperOptions`. */
  readonly saveMs?: number;
  readonly takeOverMs?: number;
}

type Purge = CommandInput<typeof STEERING_COMMANDS.purge>;
type Move = CommandInput<typeof STEERING_COMMANDS.move>;
type Cancel = CommandInput<typeof STEERING_COMMANDS.cancel>;
type Drain = CommandInput<typeof STEERING_COMMANDS.drain>;
/** What a job begins with. */
type Plan = Pick<QueueJob, 'kind' | 'queue' | 'select' | 'rate' | 'plan'> & Partial<Pick<QueueJob, 'to' | 'reason' | 'by'>>;

/** A cancellation asks ten questions for each task. */
const CANCEL_RATE = 100;

/** Jobs over whole queues; see `JobKeeper` for what happens when the process dies. */
export class QueueJobs {
  readonly keeper: JobKeeper<QueueJob>;
  private readonly acts: TaskActs;

  constructor(
    private readonly connection: Connection,
    client: TaskClient,
    options: QueueJobsOptions,
  ) {
    this.acts = new TaskActs(connection, client);
    const bucket = connection.names.bucket('queue_jobs');
    this.keeper = new JobKeeper(connection, { ...options, ...queueWork(this.acts, options.log), bucket, noun: 'queue' });
  }

  /** @throws UnknownQueueError, JetlaneError `too-many-jobs` */
  async drain({ queue, empty = false }: Drain, by: string): Promise<QueueJob> {
    await this.acts.definition(queue);
    const select = empty ? { scheduled: true } : {};
    const plan = await planPlaces(this.connection, queue, {}, []);
    const { left } = await look(this.connection, { queue, plan, select });
    return this.begin({ kind: 'drain', queue, select, rate: 0, plan, by }, left);
  }

  /** @throws UnknownQueueError, JetlaneError `too-many-jobs`, `invalid-argument` */
  async purge(input: Purge, by: string): Promise<QueueJob | QueuePreview> {
    const { queue, rate = STEERING_LIMITS.rate, reason = 'purged', scheduled = false } = input;
    const select = { ...selectionOf(input), ...(scheduled ? { scheduled } : {}) };
    return this.start({ kind: 'purge', queue, select, rate, reason, by }, scheduled ? ['timers'] : [], input.dryRun);
  }

  /** @throws UnknownQueueError, JetlaneError `too-many-jobs`, `invalid-argument` */
  async move(input: Move, by: string): Promise<QueueJob | QueuePreview> {
    const { queue, rate = STEERING_LIMITS.rate, toQueue = queue, toLane } = input;
    if (toQueue === queue && (toLane === undefined || toLane === input.lane))
      throw new JetlaneError('invalid-argument', 'expected toQueue or toLane to name another place than the one the tasks are in', {
        details: { field: 'toLane' },
      });
    const lane = laneIn(await this.acts.definition(toQueue), toLane);
    const to = { queue: toQueue, ...(lane === undefined ? {} : { lane }) };
    return this.start({ kind: 'move', queue, select: selectionOf(input), rate, to, by }, [], input.dryRun);
  }

  /** @throws UnknownQueueError, JetlaneError `too-many-jobs`, `invalid-argument` */
  async cancel(input: Cancel, by: string): Promise<QueueJob | QueuePreview> {
    const { queue, rate = CANCEL_RATE, reason = 'cancelled' } = input;
    return this.start({ kind: 'cancel', queue, select: selectionOf(input), rate, reason, by }, ['timers', 'due'], input.dryRun);
  }

  private async start(what: Omit<Plan, 'plan'>, before: readonly Place[], dryRun = false): Promise<QueueJob | QueuePreview> {
    const { kind, queue, select, to } = what;
    const { defaultType } = await this.acts.definition(queue);
    const places = await planPlaces(this.connection, queue, select, before);
    // What is in the lane that it goes to is where it belongs.
    const plan = kind === 'move' && to?.queue === queue ? places.filter(({ place }) => place !== to.lane) : places;
    if (dryRun) return preview(this.connection, { queue, defaultType }, select, plan);
    await this.assertAlone(queue, kind);
    const job = { ...what, plan, ...NOTHING_YET, id: '', state: 'running' as const, startedAt: 0, updatedAt: 0 };
    const { count } = await countLeft(this.connection, job);
    return this.begin({ ...what, plan }, count);
  }

  private begin(plan: Plan, count: number): Promise<QueueJob> {
    return this.keeper.begin({ ...plan, ...NOTHING_YET, left: { count, exact: plan.kind === 'drain' } });
  }

  /** Two that take tasks out of one lane would end each other's hold on it. */
  private async assertAlone(queue: string, kind: QueueJob['kind']): Promise<void> {
    if (kind === 'cancel') return;
    const other = (await this.keeper.list()).find(
      (job) => job.queue === queue && job.state === 'running' && (job.kind === 'purge' || job.kind === 'move'),
    );
    if (!other) return;
    throw new JetlaneError(
      'too-many-jobs',
      `a ${other.kind} of queue "${queue}" runs already, job ${other.id}; cancel it, or wait until it has ended`,
      { details: { queue, job: other.id } },
    );
  }
}

const NOTHING_YET = { done: 0, held: 0, skipped: 0, failed: 0, failures: [], left: { count: 0, exact: false }, at: 0, cursor: 0 };

/** @throws JetlaneError `invalid-argument` for a selection of everything that does not say so */
function selectionOf({ queue, lane, type, group, olderThan, ids, all }: Purge | Move | Cancel): TaskSelection {
  const storedBefore = olderThan === undefined ? undefined : Date.now() - toMs(olderThan, 'olderThan');
  const given = { lane, type, group, storedBefore, ids };
  const select = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as TaskSelection;
  for (const id of ids ?? []) {
    if (parseTaskId(id).queue !== queue)
      throw new JetlaneError('invalid-argument', `task "${id.slice(0, 200)}" is not one of queue "${queue}"`, {
        details: { field: 'ids' },
      });
  }
  if (Object.keys(select).length === 0 && !all)
    throw new JetlaneError('invalid-argument', 'expected lane, type, group, olderThan or ids; for all tasks of the queue say "all": true', {
      details: { field: 'all' },
    });
  return select;
}
