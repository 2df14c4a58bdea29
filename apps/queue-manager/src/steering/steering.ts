import { TaskClient } from '@jetlane/client';
import type { Connection, JobLog } from '@jetlane/jetstream';
import { serveRegistered } from '@jetlane/nestjs/service';
import { JOB_COMMANDS, parseTaskId, type QueueJob, STEERING_COMMANDS, TASK_COMMANDS } from '@jetlane/protocol';
import { Audit } from '../audit/audit.js';
import { serveChange } from '../audit/serve-change.js';
import { Pauses } from './pauses.js';
import { QueueJobs, type QueueJobsOptions } from './queue-jobs.js';
import { rerun } from './rerun.js';

export interface SteeringOptions extends QueueJobsOptions {
  readonly log: JobLog;
  /** Pause between two looks at what is paused, ms. Default 5,000. */
  readonly roundMs?: number;
}

/** Answers the commands that steer queues and tasks. Any number of copies may run; each call is taken by one of them. */
export class Steering {
  private readonly client: TaskClient;
  private readonly pauses: Pauses;
  private readonly jobs: QueueJobs;
  private readonly stops: (() => void)[] = [];

  constructor(
    private readonly connection: Connection,
    options: SteeringOptions,
  ) {
    this.client = new TaskClient(connection);
    this.pauses = new Pauses(connection, options);
    this.jobs = new QueueJobs(connection, this.client, options);
  }

  async start(): Promise<void> {
    await this.client.start();
    await this.pauses.start();
    await this.jobs.keeper.start();
    const audit = await Audit.open(this.connection);
    this.serveQueues(audit);
    this.serveJobs(audit);
    this.serveTasks(audit);
    // Whoever sees this service ready can call it.
    await this.connection.flush();
  }

  /** Jobs are left to other copies. */
  async stop(): Promise<void> {
    for (const stop of this.stops.splice(0)) stop();
    await this.jobs.keeper.stop();
    await this.pauses.stop();
    await this.client.close();
  }

  private serveQueues(audit: Audit): void {
    const { connection, pauses, jobs, stops } = this;
    const { pause, resume, paused, drain, purge, move, cancel } = STEERING_COMMANDS;
    const set = async (queue: string, to: boolean, asked: Parameters<Pauses['set']>[2]) => {
      await this.client.definition(queue);
      const before = await pauses.get(queue);
      const output = await pauses.set(queue, to, asked);
      return { output, before, after: output };
    };
    stops.push(
      serveChange(connection, audit, pause, ({ queue, ...asked }, by) => set(queue, true, { ...asked, by })),
      serveChange(connection, audit, resume, ({ queue, ...asked }, by) => set(queue, false, { ...asked, by })),
      serveRegistered(connection, paused, async ({ queue }) => {
        await this.client.definition(queue);
        return pauses.get(queue);
      }),
      serveChange(connection, audit, drain, async (input, by) => begun(await jobs.drain(input, by))),
      serveChange(connection, audit, purge, async (input, by) => begun(await jobs.purge(input, by))),
      serveChange(connection, audit, move, async (input, by) => begun(await jobs.move(input, by))),
      serveChange(connection, audit, cancel, async (input, by) => begun(await jobs.cancel(input, by))),
    );
  }

  private serveJobs(audit: Audit): void {
    const { connection, stops } = this;
    const { keeper } = this.jobs;
    stops.push(
      serveRegistered(connection, JOB_COMMANDS.list, async ({ queue, state }) => {
        const all = await keeper.list();
        const fitting = all.filter((job) => (queue ?? job.queue) === job.queue && (state ?? job.state) === job.state);
        return { items: fitting.slice(0, MOST_LISTED).map(brief) };
      }),
      serveRegistered(connection, JOB_COMMANDS.get, ({ id }) => keeper.get(id)),
      serveChange(connection, audit, JOB_COMMANDS.cancel, async ({ id }) => {
        const before = await keeper.get(id);
        return { before: progressOf(before), ...begun(await keeper.cancel(id)) };
      }),
    );
  }

  private serveTasks(audit: Audit): void {
    const { connection, client, stops } = this;
    stops.push(
      serveChange(connection, audit, TASK_COMMANDS.cancel, async ({ task_id, reason }) => {
        const result = await client.cancel(task_id, reason === undefined ? {} : { reason });
        return { output: { task_id, result }, after: { result, reason } };
      }),
      serveChange(connection, audit, TASK_COMMANDS.cancelGroup, async ({ queue, group, reason }) => {
        const result = await client.cancelGroup(queue, group, reason === undefined ? {} : { reason });
        return { output: { queue_name: queue, group, ...result }, after: { group, reason, ...result } };
      }),
      serveChange(connection, audit, TASK_COMMANDS.rerun, async (input) => {
        const definition = await client.definition(parseTaskId(input.task_id).queue);
        const { task_id, ...after } = await rerun(connection, definition, input);
        const payload = input.data === undefined && input.base64 === undefined ? 'as it was' : 'given';
        return { output: { task_id, ...after }, after: { ...after, payload } };
      }),
    );
  }
}

/** An answer must fit into one message. */
const MOST_LISTED = 200;
const brief = (job: QueueJob): QueueJob => ({
  ...job,
  failures: job.failures.slice(0, 1),
  select: job.select.ids ? { ...job.select, ids: job.select.ids.slice(0, 10) } : job.select,
});

/** A job, or a preview, as the answer and as the audit keeps it: without the lists. */
function begun<T extends object>(output: T): { output: T; after: object } {
  return { output, after: progressOf(output) };
}

function progressOf(output: object): object {
  const { failures: _failures, plan: _plan, sample: _sample, ...kept } = output as Record<string, unknown>;
  return kept;
}
