import { type BucketChange, type Connection, JsonBucket } from '@jetlane/jetstream';
import type { DeadLetterJob } from '@jetlane/protocol';

/** A job as it is stored: with who runs it, and whether somebody wants it to end. */
export interface StoredJob extends DeadLetterJob {
  /** The process that runs it; missing: nobody, any process may take it. */
  readonly runner?: string | undefined;
  readonly cancelRequested?: boolean;
}

/** A job with the revision that a compare-and-set must name. */
export interface JobVersion {
  readonly job: StoredJob;
  readonly revision: number;
}

/** Jobs are forgotten this long after their last change, in ms. */
const KEPT_MS = 7 * 86_400_000;

/** The bucket of jobs. */
export class JobStore {
  private constructor(private readonly bucket: JsonBucket<StoredJob>) {}

  static async open(connection: Connection): Promise<JobStore> {
    return new JobStore(await JsonBucket.open<StoredJob>(connection, connection.names.bucket('jobs'), 1, KEPT_MS));
  }

  async create(job: StoredJob): Promise<void> {
    await this.bucket.create(job.id, job);
  }

  async get(id: string): Promise<JobVersion | undefined> {
    const entry = await this.bucket.get(id);
    return entry && { job: entry.value, revision: entry.revision };
  }

  /** A job that is written while the bucket is listed may come twice: the last one counts. */
  async all(): Promise<JobVersion[]> {
    const byId = new Map((await this.bucket.all()).map(({ key, value, revision }) => [key, { job: value, revision }]));
    return [...byId.values()];
  }

  /** Writes only if nobody wrote since. @returns the new revision, or undefined */
  update(job: StoredJob, revision: number): Promise<number | undefined> {
    return this.bucket.update(job.id, job, revision);
  }

  /** Changes a job by compare-and-set until nobody comes between. @returns what stands then; undefined when there is no such job */
  async change(id: string, edit: (job: StoredJob) => StoredJob | undefined): Promise<StoredJob | undefined> {
    for (;;) {
      const found = await this.get(id);
      if (!found) return undefined;
      const edited = edit(found.job);
      if (!edited) return found.job;
      if ((await this.update(edited, found.revision)) !== undefined) return edited;
    }
  }

  watch(listener: (change: BucketChange<StoredJob>) => void): Promise<{ ready: Promise<void>; stop: () => void }> {
    return this.bucket.watch(listener);
  }
}
