import { mkdirSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { JetlaneError } from '@jetlane/protocol';
import Libsql from 'libsql';

/** A row of the database; its columns are the statement's. */
export type Row = Readonly<Record<string, string | number | null>>;
export type Value = string | number | null;

/** A prepared statement. */
export interface Statement {
  run(values?: readonly Value[]): void;
  all(values?: readonly Value[]): Row[];
  get(values?: readonly Value[]): Row | undefined;
}

const SCHEMA_VERSION = '1';
const SCHEMA = `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE tasks (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL, queue TEXT NOT NULL, state TEXT NOT NULL, lane TEXT, type TEXT, grp TEXT,
    attempt INTEGER NOT NULL, hop INTEGER NOT NULL, stored INTEGER NOT NULL, expires INTEGER NOT NULL,
    created INTEGER, queued INTEGER, started INTEGER, finished INTEGER, discarded INTEGER, worker TEXT, reason TEXT, error TEXT
  );
  CREATE UNIQUE INDEX by_id ON tasks (id);
  CREATE INDEX by_queue ON tasks (queue);
  CREATE INDEX by_type ON tasks (type);
  CREATE INDEX by_group ON tasks (grp) WHERE grp IS NOT NULL;
  CREATE INDEX by_expiry ON tasks (expires);
  CREATE INDEX unhappy ON tasks (seq) WHERE state <> 'completed';
  CREATE INDEX unhappy_by_type ON tasks (type) WHERE state <> 'completed';
`;

/**
 * The file of a projection. It can be thrown away at any time and is built anew from the records; one that is broken, or of
 * another version of the schema, is. One process uses it at a time.
 */
export class Database {
  private readonly statements = new Map<string, Statement>();

  private constructor(
    readonly file: string,
    private readonly db: Libsql.Database,
  ) {}

  /** @throws JetlaneError `invalid-configuration` when the file cannot be used: another process has it, the folder is not ours */
  static open(file: string): Database {
    ownFolder(dirname(file));
    try {
      return Database.tryOpen(file);
    } catch (error) {
      if (isBusy(error)) throw unusable(file, 'another process uses it; give every queue-manager a folder of its own');
      if (error instanceof JetlaneError) throw error;
      removeFiles(file);
      return Database.tryOpen(file);
    }
  }

  private static tryOpen(file: string): Database {
    const db = new Libsql(file);
    try {
      // The lock keeps a second process out; without shared memory, the log of the database works everywhere.
      for (const pragma of ['locking_mode = EXCLUSIVE', 'journal_mode = WAL', 'synchronous = NORMAL', 'cache_size = -16000'])
        db.exec(`PRAGMA ${pragma}`);
      const database = new Database(file, db);
      if (database.version() === SCHEMA_VERSION) return database;
      database.reset();
      return database;
    } catch (error) {
      db.close();
      throw error;
    }
  }

  /** Empties it. */
  reset(): void {
    this.transaction(() => {
      this.db.exec('DROP TABLE IF EXISTS tasks; DROP TABLE IF EXISTS meta');
      this.db.exec(SCHEMA);
      this.db.exec(`INSERT INTO meta VALUES ('schema', '${SCHEMA_VERSION}')`);
    });
  }

  /** A statement, prepared once. */
  prepare(sql: string): Statement {
    let statement = this.statements.get(sql);
    if (!statement) {
      const prepared = this.db.prepare(sql);
      statement = {
        run: (values = []) => void prepared.run([...values]),
        all: (values = []) => prepared.all([...values]) as Row[],
        get: (values = []) => prepared.get([...values]) as Row | undefined,
      };
      this.statements.set(sql, statement);
    }
    return statement;
  }

  /** All of it is stored, or nothing. */
  transaction(work: () => void): void {
    this.db.exec('BEGIN IMMEDIATE');
    try {
      work();
      this.db.exec('COMMIT');
    } catch (error) {
      if (this.db.inTransaction) this.db.exec('ROLLBACK');
      throw error;
    }
  }

  /** Size of the file and its log. */
  bytes(): number {
    return [this.file, `${this.file}-wal`].reduce((sum, file) => sum + (statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0);
  }

  close(): void {
    this.statements.clear();
    try {
      // Statements that are not yet collected keep the file open: the lock is given up before, and for that the log must be left.
      for (const pragma of ['journal_mode = DELETE', 'locking_mode = NORMAL', 'user_version']) this.db.prepare(`PRAGMA ${pragma}`).all();
    } catch {
      // A broken file: it is thrown away anyway.
    }
    this.db.close();
  }

  private version(): string | undefined {
    const known = this.db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'meta'").get();
    if (!known) return undefined;
    return String((this.db.prepare("SELECT value FROM meta WHERE name = 'schema'").get() as Row | undefined)?.value);
  }
}

/** Deletes a projection's files. */
export function removeFiles(file: string): void {
  for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(file + suffix, { force: true });
}

/** True when the file itself is broken: it is thrown away and built anew. */
export const isBroken = (error: unknown): boolean => /^SQLITE_(CORRUPT|NOTADB)/.test(codeOf(error));

const isBusy = (error: unknown): boolean => /^SQLITE_(BUSY|LOCKED)/.test(codeOf(error)) || /database is locked/.test(String(error));
const codeOf = (error: unknown): string => String((error as { code?: unknown } | null)?.code);

/** The folder holds what tasks failed of: nobody else may read it, and it must not be somebody else's trap. */
function ownFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { uid } = statSync(folder);
  const me = process.getuid?.() ?? uid;
  if (uid !== me && me !== 0) throw unusable(folder, 'it belongs to another user');
}

const unusable = (path: string, why: string): JetlaneError =>
  new JetlaneError('invalid-configuration', `the search cannot use ${path}: ${why}; set JETLANE_SEARCH_DIR`, { details: { path } });
