import { type HeldLane, type JobLog, type JobRun, type JobWork, mayBeInHand, Pace, type StoredMessage } from '@jetlane/jetstream';
import { isLane, JetlaneError, type QueueJob } from '@jetlane/protocol';
import { drain } from './drain.js';
import { guarded } from './lane-guard.js';
import { countLeft, fixPlaces, NOT_FIXED, type PlannedPlace, readSelection } from './selection.js';
import type { TaskActs, TaskFate } from './task-acts.js';
import { type Turn, Turns } from './turns.js';

/** `put-off`: its lane could not be held for long enough; it comes with the next chunk. */
type Result = TaskFate | JetlaneError | 'put-off';

const MOST_FAILURES = 20;
/** Tasks that are dealt with at once, while their lane may have to stand still: a tenth of a second's worth, at most this many. */
const CHUNK = 256;

/** How often a task is put off before it counts as failed, each time for half a second longer; together about half a minute. */
const MOST_AGAIN = 10;
const AGAIN_MS = 500;

/** What a job over the tasks of a queue does. */
export function queueWork(acts: TaskActs, log: JobLog): JobWork<QueueJob> {
  return {
    work: (run) => (run.job.kind === 'drain' ? drain(acts.connection, run) : new QueueRun(acts, run, log).pages()),
    measure: async (job) => (job.kind === 'drain' ? {} : { left: await countLeft(acts.connection, job) }),
    facts: ({ kind, queue, select, to, rate, done, held, skipped, failed, by }) => ({
      ...{ kind, queue, select, to, rate, done, held, skipped, failed, by },
    }),
  };
}

/**
 * Works through the places of a job, oldest tasks first. Its cursor is stored once a second; what a second run does once more is
 * harmless, see `purgeTask`, `moveTask` and `cancelTask`.
 */
class QueueRun {
  private readonly pace: Pace;
  /** How often in a row the same task was put off. */
  private again = 0;

  constructor(
    private readonly acts: TaskActs,
    private readonly run: JobRun<QueueJob>,
    private readonly log: JobLog,
  ) {
    this.pace = new Pace(run.job.rate);
  }

  private get size(): number {
    return Math.max(1, Math.min(CHUNK, Math.floor(this.run.job.rate / 10)));
  }

  async pages(): Promise<void> {
    const { run, acts } = this;
    while (run.going) {
      const { plan, at, cursor, queue, select } = run.job;
      const place = plan[at] as PlannedPlace | undefined;
      if (!place) return run.end('completed');
      if (place.until === NOT_FIXED) {
        await this.fix();
        continue;
      }
      const reading = { queue, defaultType: (await acts.definition(queue)).defaultType };
      const page = await run.retry(() => readSelection(acts.connection, reading, select, place, cursor));
      let through = true;
      for (let from = 0; through && from < page.found.length; from += this.size)
        through = await this.chunk(place, page.found.slice(from, from + this.size));
      if (run.going && through) run.set(page.end ? { at: at + 1, cursor: 0 } : { cursor: page.position });
      await run.saveIfDue();
    }
  }

  /** What fired while the timers were read has come to its lane by now. */
  private async fix(): Promise<void> {
    const { plan, at, queue, select } = this.run.job;
    const lanes = (plan as readonly PlannedPlace[]).slice(at).flatMap(({ place }) => (isLane(place) ? [place] : []));
    const fixed = await this.run.retry(() => fixPlaces(this.acts.connection, queue, select, lanes));
    this.run.set({ plan: [...plan.slice(0, at), ...fixed] });
  }

  /**
   * The cursor moves over a chunk when all of it is dealt with; it stays before the first one that was put off, or found no room in a full lane.
   * What was dealt with behind that one is looked at once more, and found done.
   */
  private async chunk(place: PlannedPlace, tasks: readonly StoredMessage[]): Promise<boolean> {
    const { run } = this;
    await run.wait(this.pace.next(tasks.length));
    if (!run.going) return false;
    const done = new Set<StoredMessage>();
    const results = await run.retry(() => this.deal(place, tasks, done));
    const left = results.findIndex((result) => result === 'put-off' || isFull(result));
    for (const [i, result] of results.entries()) if (left < 0 || i < left || result === 'done') this.note(tasks[i]!, result);
    run.set({ cursor: left < 0 ? tasks.at(-1)!.sequence : tasks[left]!.sequence - 1 });
    const full = results.find(isFull);
    if (full) run.end('stopped', this.stoppedBy(full));
    await run.saveIfDue();
    this.again = left < 0 || left > 0 ? 0 : this.again + 1;
    if (left >= 0) await run.wait((this.again + 1) * AGAIN_MS);
    return left < 0;
  }

  /** Each task is stored in its new lane before it leaves the old one: where both are in one stream, a full one has no place for that. */
  private stoppedBy(full: Result): Result {
    const { queue, to } = this.run.job;
    if (this.acts.connection.names.laneStreams(queue).length > 1 || (to?.queue ?? queue) !== queue) return full;
    const message = `queue "${queue}" is full, all its lanes together, and a task moved within it needs a place before it leaves its own: raise its maxDepth or maxBytes, or purge some first`;
    return new JetlaneError('queue-full', message, { details: { queue } });
  }

  /** @param done those that an earlier try, which failed as a whole, has dealt with */
  private async deal({ place }: PlannedPlace, tasks: readonly StoredMessage[], done: Set<StoredMessage>): Promise<Result[]> {
    const { kind, queue } = this.run.job;
    if (kind === 'cancel' || !isLane(place)) return Promise.all(tasks.map((task) => this.attempt(place, task)));
    const before = new Set(done);
    const first = tasks[0]!.sequence;
    const { result, delivered } = await guarded(this.acts.connection, { queue, lane: place, first }, (held) => {
      const turns = new Turns();
      const fate = async (task: StoredMessage): Promise<Result> => {
        if (mayBeInHand(task, held)) return 'held';
        const result = await turns.take((turn) => this.attemptIn(held, place, task, turn));
        if (result === 'done') done.add(task);
        return result;
      };
      return Promise.all(tasks.map((task) => (before.has(task) ? 'done' : fate(task))));
    });
    // Only after a hold that was too short, or at a speed that nobody has seen: these may have been handed out in the same moment.
    return result.map((fate, i) => (fate === 'done' && !before.has(tasks[i]!) && tasks[i]!.sequence <= delivered ? 'held' : fate));
  }

  private attempt(place: PlannedPlace['place'], task: StoredMessage): Promise<Result> {
    const { run, acts } = this;
    return run.retry(() => acts.act(run.job, place, task)).catch(asResult);
  }

  /** Nothing is tried again while a lane is held: the hold could have ended by then. What comes again is not overtaken by those behind it. */
  private async attemptIn({ until }: HeldLane, place: PlannedPlace['place'], task: StoredMessage, turn: Turn): Promise<Result> {
    const inTime = () => performance.now() < until && turn.open();
    if (!inTime()) return 'put-off';
    const result = await this.acts.act(this.run.job, place, task, { ...turn, inTime }).catch(asResult);
    const passing = result instanceof JetlaneError && result.retryable && !isFull(result);
    const putOff = passing && this.again < MOST_AGAIN;
    if (putOff || isFull(result)) turn.endRow();
    return putOff ? 'put-off' : result;
  }

  private note({ subject }: StoredMessage, result: Result): void {
    const { run } = this;
    if (result === 'put-off' || isFull(result)) return;
    if (typeof result === 'string') return run.set({ [result]: run.job[result] + 1 });
    const { code, message } = result;
    const id = `${run.job.queue}.${subject.slice(subject.lastIndexOf('.') + 1)}`;
    this.log.warn({ job: run.job.id, id, code, error: message }, 'queue:task-not-dealt-with');
    const { failures, failed } = run.job;
    run.set({ failed: failed + 1, failures: failures.length < MOST_FAILURES ? [...failures, { id, code, message }] : failures });
  }
}

const asResult = (error: unknown): JetlaneError =>
  error instanceof JetlaneError ? error : new JetlaneError('internal', error instanceof Error ? error.message : String(error));

const isFull = (result: Result): boolean => typeof result !== 'string' && result.code === 'queue-full';
