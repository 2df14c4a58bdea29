import { randomUUID } from 'node:crypto';
import { JetlaneError } from '@jetlane/protocol';
import type { Connection } from '../connection.js';
import { JobRun, type JobRunOptions } from './job-run.js';
import { type Job, JobStore, type JobVersion, type StoredJob } from './job-store.js';

/** What the jobs do, where they are stored, and when one counts as left behind. */
export interface JobKeeperOptions<J extends Job> extends Omit<JobRunOptions<J>, 'runner'> {
  /** Full name of the bucket that holds the jobs. */
  readonly bucket: string;
  /** How long the progress of a job may stand still before another process takes it over, in ms. Default 10,000. */
  readonly takeOverMs?: number;
}

const MOST_RUNNING = 20;

/**
 * Starts jobs, runs them, and takes over those whose process is gone. Any number of processes may do so at once: a job is
 * taken by compare-and-set, and two that ran one all the same must do no harm.
 */
export class JobKeeper<J extends Job> {
  private readonly name = randomUUID();
  private store: JobStore<J> | undefined;
  private readonly known = new Map<string, JobVersion<J> & { readonly seenAt: number }>();
  private readonly running = new Map<string, { run: JobRun<J>; done: Promise<void> }>();
  private timer: NodeJS.Timeout | undefined;
  private stopWatching: () => void = () => undefined;
  private stopped = false;

  constructor(
    private readonly connection: Connection,
    private readonly options: JobKeeperOptions<J>,
  ) {}

  /** Opens the bucket, creating it when it is missing, and from then on takes over jobs that stand still. @throws JetlaneError `jetstream-api`, `not-connected` */
  async start(): Promise<void> {
    this.store = await JobStore.open<J>(this.connection, this.options.bucket);
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
    for (const { run } of this.running.values()) run.stop();
    await Promise.all([...this.running.values()].map(({ done }) => done));
  }

  /** Checks that another job may run: 20 may at once, of all processes together. @throws JetlaneError `too-many-jobs` */
  async assertRoom(): Promise<void> {
    const others = (await this.opened().all()).filter(({ job }) => job.state === 'running').length;
    if (others >= MOST_RUNNING)
      throw new JetlaneError('too-many-jobs', `${others} jobs run already, ${MOST_RUNNING} may; cancel one, or wait until one has ended`);
  }

  /** Stores a new job and runs it. @throws JetlaneError `too-many-jobs` */
  async begin(what: Omit<J, 'id' | 'state' | 'startedAt' | 'updatedAt'>): Promise<J> {
    await this.assertRoom();
    const store = this.opened();
    const now = Date.now();
    const job = {
      ...what,
      id: randomUUID(),
      state: 'running',
      startedAt: now,
      updatedAt: now,
      runner: this.name,
    } as unknown as StoredJob<J>;
    await store.create(job);
    const created = await store.get(job.id);
    this.options.log.info({ job: job.id, ...this.options.facts(job) }, `${this.options.noun}:job-started`);
    // Crash before it runs: the job stands with a dead runner, and another process takes it over.
    if (created) this.run(created);
    return publicJob(job);
  }

  /** A job as it was stored last, which is up to a second old. @throws JetlaneError `job-not-found` */
  async get(id: string): Promise<J> {
    const found = isJobId(id) ? await this.opened().get(id) : undefined;
    if (!found) throw unknownJob(id);
    return publicJob(found.job);
  }

  /** The last seven days' jobs, newest first. */
  async list(): Promise<J[]> {
    const all = await this.opened().all();
    return all.map(({ job }) => publicJob(job)).sort((a, b) => b.startedAt - a.startedAt);
  }

  /** Asks a job to end; it does so within a second or two. A job that has ended stays as it is. @throws JetlaneError `job-not-found` */
  async cancel(id: string): Promise<J> {
    const edit = (job: StoredJob<J>) => (job.state === 'running' && !job.cancelRequested ? { ...job, cancelRequested: true } : undefined);
    const job = isJobId(id) ? await this.opened().change(id, edit) : undefined;
    if (!job) throw unknownJob(id);
    return publicJob(job);
  }

  private get takeOverMs(): number {
    return this.options.takeOverMs ?? 10_000;
  }

  private opened(): JobStore<J> {
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
      this.options.log.warn({ job: job.id, ...this.options.facts(job) }, `${this.options.noun}:job-taken-over`);
      this.run({ job: mine, revision: taken });
    }
  }

  private run(version: JobVersion<J>): void {
    const run = new JobRun<J>(this.connection, this.opened(), version, { ...this.options, runner: this.name });
    const done = run.run().finally(() => this.running.delete(version.job.id));
    this.running.set(version.job.id, { run, done });
  }
}

const isJobId = (id: string): boolean => /^[0-9a-f-]{36}$/.test(id);

const unknownJob = (id: string): JetlaneError =>
  new JetlaneError('job-not-found', `there is no job ${JSON.stringify(id.slice(0, 100))}; jobs are kept for seven days`, {
    details: { id },
  });

function publicJob<J extends Job>({ runner: _runner, cancelRequested: _requested, ...job }: StoredJob<J>): J {
  return job as unknown as J;
}
