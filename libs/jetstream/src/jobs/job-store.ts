import type { Connection } from '../connection.js';
import { type BucketChange, JsonBucket } from '../json-bucket.js';

/** What every job of a service has, whatever it does. */
export interface Job {
  readonly id: string;
  /** `running` → `completed` (all dealt with) | `stopped` (by something that must be mended first) | `cancelled` | `failed`. */
  readonly state: 'running' | 'completed' | 'stopped' | 'cancelled' | 'failed';
  readonly startedAt: number;
  readonly updatedAt: number;
  /** Why it stopped or failed. */
  readonly error?: { readonly code: string; readonly message: string };
}

/** A job as it is stored: with who runs it, and whether somebody wants it to end. */
export type StoredJob<J extends Job> = J & {
  /** The process that runs it; missing: nobody, any process may take it. */
  readonly runner?: string | undefined;
  readonly cancelRequested?: boolean;
};

/** A job with the revision that a compare-and-set must name. */
export interface JobVersion<J extends Job> {
  readonly job: StoredJob<J>;
  readonly revision: number;
}

/** Jobs are forgotten this long after their last change, in ms. */
const KEPT_MS = 7 * 86_400_000;

/** A bucket of jobs. */
export class JobStore<J extends Job> {
  private constructor(private readonly bucket: JsonBucket<StoredJob<J>>) {}

  /** @param name full name of the bucket */
  static async open<J extends Job>(connection: Connection, name: string): Promise<JobStore<J>> {
    return new JobStore(await JsonBucket.open<StoredJob<J>>(connection, name, 1, KEPT_MS));
  }

  async create(job: StoredJob<J>): Promise<void> {
    await this.bucket.create(job.id, job);
  }

  async get(id: string): Promise<JobVersion<J> | undefined> {
    const entry = await this.bucket.get(id);
    return entry && { job: entry.value, revision: entry.revision };
  }

  /** A job that is written while the bucket is listed may come twice: the last one counts. */
  async all(): Promise<JobVersion<J>[]> {
    const byId = new Map((await this.bucket.all()).map(({ key, value, revision }) => [key, { job: value, revision }]));
    return [...byId.values()];
  }

  /** Writes only if nobody wrote since. @returns the new revision, or undefined */
  update(job: StoredJob<J>, revision: number): Promise<number | undefined> {
    return this.bucket.update(job.id, job, revision);
  }

  /** Changes a job by compare-and-set until nobody comes between. @returns what stands then; undefined when there is no such job */
  async change(id: string, edit: (job: StoredJob<J>) => StoredJob<J> | undefined): Promise<StoredJob<J> | undefined> {
    for (;;) {
      const found = await this.get(id);
      if (!found) return undefined;
      const edited = edit(found.job);
      if (!edited) return found.job;
      if ((await this.update(edited, found.revision)) !== undefined) return edited;
    }
  }

  watch(listener: (change: BucketChange<StoredJob<J>>) => void): Promise<{ ready: Promise<void>; stop: () => void }> {
    return this.bucket.watch(listener);
  }
}
