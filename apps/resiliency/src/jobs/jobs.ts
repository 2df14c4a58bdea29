import { type Connection, countDeadLetters, deadLetterTotals, isCountable, JobKeeper, type JobLog } from '@jetlane/jetstream';
import type { DeadLetterJob } from '@jetlane/protocol';
import { type LetterAct, letterWork } from './letter-work.js';

export interface JobsOptions {
  readonly act: LetterAct;
  readonly log: JobLog;
  /** As in `JobKeeperOptions`. */
  readonly saveMs?: number;
  readonly takeOverMs?: number;
}

/** What a new job is to do. */
export type NewJob = Pick<DeadLetterJob, 'kind' | 'filter' | 'lane' | 'rate' | 'by'> & { readonly after: number };

/** The jobs over dead letters. */
export class Jobs extends JobKeeper<DeadLetterJob> {
  constructor(
    private readonly link: Connection,
    { act, ...options }: JobsOptions,
  ) {
    const bucket = link.names.bucket('jobs');
    super(link, { ...options, ...letterWork(link, act, options.log), bucket, noun: 'dead-letters' });
  }

  /** Starts a job over all that stands now. @throws JetlaneError `too-many-jobs` */
  async beginLetters({ after, ...what }: NewJob): Promise<DeadLetterJob> {
    await this.assertRoom();
    const { lastSequence: until } = await deadLetterTotals(this.link);
    const exact = isCountable(what.filter);
    const count = exact ? await countDeadLetters(this.link, what.filter, after + 1, until) : 0;
    return this.begin({ ...what, moved: 0, skipped: 0, failed: 0, failures: [], cursor: after, until, left: { count, exact } });
  }
}
