import { Database, isBroken, removeFiles } from './database.js';
import { type Change, INSERT } from './record-row.js';

/** Which stream the rows are of: one that was deleted and made anew counts its records from 1 again. */
export interface Source {
  readonly stream: string;
  /** When the stream was made, as the server tells. */
  readonly created: string;
}

const META = "INSERT OR REPLACE INTO meta VALUES ('position', ?)";
const DELETE_BATCH = 2000;

/**
 * The finished tasks of an installation in an embedded database. Rows and the position in the record stream are stored in
 * one transaction, so a crash at any point leaves a state that some prefix of the stream has: what comes again after it
 * replaces rows by equal ones. Tests: look-search.spec "crash".
 */
export class Projection {
  private readonly ids = 'DELETE FROM tasks WHERE id IN (SELECT value FROM json_each(?))';

  private constructor(private db: Database) {}

  /** @throws JetlaneError `invalid-configuration` when the file cannot be used */
  static open(file: string): Projection {
    return new Projection(Database.open(file));
  }

  get database(): Database {
    return this.db;
  }

  /** Keeps what is there if it is of this stream, else begins anew. @returns sequence of the last record that is in it */
  attach({ stream, created }: Source, lastSequence: number): number {
    const source = `${stream} ${created}`;
    const position = this.meta('source') === source ? Number(this.meta('position') ?? 0) : 0;
    if (position > 0 && position <= lastSequence) return position;
    this.db.reset();
    this.db.prepare("INSERT OR REPLACE INTO meta VALUES ('source', ?)").run([source]);
    return 0;
  }

  /** Takes in records, in the stream's order. */
  apply(changes: readonly Change[], position: number): void {
    // Only a task's last word counts.
    const last = new Map(changes.map((change) => [change.id, change]));
    const gone = [...last.values()].flatMap(({ id, row }) => (row ? [] : [id]));
    const insert = this.db.prepare(INSERT);
    this.db.transaction(() => {
      if (gone.length > 0) this.db.prepare(this.ids).run([JSON.stringify(gone)]);
      for (const { row } of last.values()) if (row) insert.run(row);
      this.db.prepare(META).run([String(position)]);
    });
  }

  /** Forgets what the stream has forgotten: expired records, and those before its first one. @returns false when more is left */
  expire(firstSequence: number, now: number): boolean {
    const old = this.deleted('SELECT seq FROM tasks WHERE seq < ? ORDER BY seq LIMIT ?', firstSequence);
    const expired = this.deleted('SELECT seq FROM tasks WHERE expires <= ? LIMIT ?', now);
    return Math.max(old, expired) < DELETE_BATCH;
  }

  private deleted(which: string, bound: number): number {
    this.db.prepare(`DELETE FROM tasks WHERE seq IN (${which})`).run([bound, DELETE_BATCH]);
    return Number(this.db.prepare('SELECT changes() AS n').get()?.n ?? 0);
  }

  /** Finished tasks in it. A count over an index: some milliseconds for a million. */
  rows(): number {
    return Number(this.db.prepare('SELECT count(*) AS n FROM tasks').get()?.n ?? 0);
  }

  /** After an error of the database: a broken file is thrown away. @returns true when everything must be read again */
  recover(error: unknown): boolean {
    if (!isBroken(error)) return false;
    const { file } = this.db;
    this.db.close();
    removeFiles(file);
    this.db = Database.open(file);
    return true;
  }

  close(): void {
    this.db.close();
  }

  private meta(name: string): string | undefined {
    const value = this.db.prepare('SELECT value FROM meta WHERE name = ?').get([name])?.value;
    return typeof value === 'string' ? value : undefined;
  }
}
