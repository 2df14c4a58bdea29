import { randomUUID } from 'node:crypto';
import { type Connection, countDeadLetters, deadLetterTotals, isCountable } from '@jetlane/jetstream';
import { type DeadLetterJob, JetlaneError } from '@jetlane/protocol';
import { JobRunner, type JobRunnerOptions } from './job-runner.js';
import { JobStore, type JobVersion, type StoredJob } from './job-store.js';

export interface JobsOptions extends Pick<JobRunnerOptions, 'act' | 'log' | 'saveMs'> {
  /** How long the progress of a job may stand still before another process takes it over, in ms. Default 10,000. */
  readonly takeOverMs?: number;
}

/** What a new job is to do. */
export type NewJob = Pick<StoredJob, 'kind' | 'filter' | 'lane' | 'rate' | 'by'> & { readonly after: number };

const MOST_RUNNING = 20;

/**
 * Starts jobs, runs them, and takes over those whose process is gone. Any number of processes may do so at once: a job is
 * taken by compare-and-set, and two that ran one all the same would do no harm.
 */
export class Jobs {
  private readonly name = randomUUID();
  private store: JobStore | undefined;
  private readonly known = new Map<string, JobVersion & { readonly seenAt: number }>();
  private readonly running = new Map<string, { runner: JobRunner; done: Promise<void> }>();
  private timer: NodeJS.Timeout | undefined;
  private stopWatching: () => void = () => undefined;
  private stopped = false;

  constructor(
    private readonly connection: Connection,
    private readonly options: JobsOptions,
  ) {}

  async start(): Promise<void> {
    this.store = await JobStore.open(this.connection);
    const { ready, stop } = await this.store.watch(({ key, value, revision }) => {
      if (value) this.known.set(key, { job: value, revision, seenAt: performance.now() });
      else this.known.delete(key);
    });
    this.stopWatching = stop;
    await ready;
    this.timer = setInterval(() => void this.takeOver(), this.takeOverMs / 5);
    this.timer.unref();
  }

  /** Leaves what runs to other processes, after what is in hand. */
  async stop(): Promise<void> {
    this.stopped = true;
    clearInterval(this.timer);
    this.stopWatching();
    for (const { runner } of this.running.values()) runner.stop();
    await Promise.all([...this.running.values()].map(({ done }) => done));
  }

  /** Starts a job over all that stands now. @throws JetlaneError `too-many-jobs` */
  async begin({ after, ...what }: NewJob): Promise<DeadLetterJob> {
    const store = this.opened();
    const others = (await store.all()).filter(({ job }) => job.state === 'running').length;
    if (others >= MOST_RUNNING)
      throw new JetlaneError('too-many-jobs', `${others} jobs run already, ${MOST_RUNNING} may; cancel one, or wait until one has ended`);
    const { lastSequence: until } = await deadLetterTotals(this.connection);
    const countable = isCountable(what.filter);
    const count = countable ? await countDeadLetters(this.connection, what.filter, after + 1, until) : 0;
    const now = Date.now();
    const progress = { state: 'running' as const, moved: 0, skipped: 0, failed: 0, failures: [], cursor: after, until };
    const job: StoredJob = {
      id: randomUUID(),
      ...what,
      ...progress,
      left: { count, exact: countable },
      startedAt: now,
      updatedAt: now,
      runner: this.name,
    };
    await store.create(job);
    const created = await store.get(job.id);
    this.options.log.info(
      { job: job.id, kind: job.kind, filter: job.filter, lane: job.lane, rate: job.rate, by: job.by },
      'dead-letters:job-started',
    );
    // Crash before it runs: the job stands with a dead runner, and another process takes it over.
    if (created) this.run(created);
    return publicJob(job);
  }

  /** @throws JetlaneError `job-not-found` */
  async get(id: string): Promise<DeadLetterJob> {
    const found = isJobId(id) ? await this.opened().get(id) : undefined;
    if (!found) throw unknownJob(id);
    return publicJob(found.job);
  }

  /** The last seven days' jobs, newest first. */
  async list(): Promise<DeadLetterJob[]> {
    const all = await this.opened().all();
    return all.map(({ job }) => publicJob(job)).sort((a, b) => b.startedAt - a.startedAt);
  }

  /** Asks a job to end; it does so within a second or two. A job that has ended stays as it is. @throws JetlaneError `job-not-found` */
  async cancel(id: string): Promise<DeadLetterJob> {
    const edit = (job: StoredJob) => (job.state === 'running' && !job.cancelRequested ? { ...job, cancelRequested: true } : undefined);
    const job = isJobId(id) ? await this.opened().change(id, edit) : undefined;
    if (!job) throw unknownJob(id);
    return publicJob(job);
  }

  private get takeOverMs(): number {
    return this.options.takeOverMs ?? 10_000;
  }

  private opened(): JobStore {
    if (!this.store) throw new JetlaneError('service-unavailable', 'the service is still starting; try again in a moment');
    return this.store;
  }

  /** A job that has stood still, by this process's clock, or that was left behind in good order. */
  private async takeOver(): Promise<void> {
    for (const { job, revision, seenAt } of this.known.values()) {
      if (this.stopped || job.state !== 'running' || this.running.has(job.id)) continue;
      if (job.runner !== undefined && performance.now() - seenAt < this.takeOverMs) continue;
      const mine = { ...job, runner: this.name };
      const taken = await this.opened()
        .update(mine, revision)
        .catch(() => undefined);
      if (taken === undefined || this.stopped) continue;
      this.options.log.warn({ job: job.id, kind: job.kind, cursor: job.cursor }, 'dead-letters:job-taken-over');
      this.run({ job: mine, revision: taken });
    }
  }

  private run(version: JobVersion): void {
    const { act, log, saveMs } = this.options;
    const runner = new JobRunner(this.connection, this.opened(), version, { runner: this.name, act, log, ...(saveMs ? { saveMs } : {}) });
    const done = runner.run().finally(() => this.running.delete(version.job.id));
    this.running.set(version.job.id, { runner, done });
  }
}

const isJobId = (id: string): boolean => /^[0-9a-f-]{36}$/.test(id);

const unknownJob = (id: string): JetlaneError =>
  new JetlaneError('job-not-found', `there is no job ${JSON.stringify(id.slice(0, 100))}; jobs are kept for seven days`, {
    details: { id },
  });

function publicJob({ runner: _runner, cancelRequested: _requested, ...job }: StoredJob): DeadLetterJob {
  return job;
}
