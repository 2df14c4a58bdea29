import { randomBytes } from 'node:crypto';
import { type Connection, JsonBucket } from '@jetlane/jetstream';

/** One action of an operator, as it is kept. */
export interface AuditEntry {
  /** ms since 1970. */
  readonly at: number;
  /** Who: a key's name, a token's subject, an address. */
  readonly caller: string;
  /** What: name of the command. */
  readonly command: string;
  /** What it was done to: a queue, a task. */
  readonly target: string;
  readonly before?: unknown;
  readonly after?: unknown;
  /** Code and message, where it failed. */
  readonly error?: { readonly code: string; readonly message: string };
}

const KEEP_MS = 90 * 86_400_000;

/** Who did what, when, and what it was before: kept for 90 days in the bucket `audit`. */
export class Audit {
  private constructor(private readonly bucket: JsonBucket<AuditEntry>) {}

  static async open(connection: Connection): Promise<Audit> {
    return new Audit(await JsonBucket.open<AuditEntry>(connection, connection.names.bucket('audit'), 1, KEEP_MS));
  }

  /**
   * Resolves when the entry is stored. Keys rise with the time.
   * @param id tells entries of one moment apart; given twice, the entry is stored once
   */
  async record(entry: AuditEntry, id: string = randomBytes(6).toString('hex')): Promise<void> {
    await this.bucket.create(`${entry.at.toString(36).padStart(9, '0')}-${id}`, entry);
  }
}
