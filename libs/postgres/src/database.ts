import { Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import { guardPool } from './guarded-pool.js';
import type { Database, JetlaneTables } from './schema.js';

/** Options of `createDatabase`. Times are in milliseconds; 0 switches a timeout off. */
export interface DatabaseOptions {
  /** Most connections at once. Default 10. A task that writes holds one while it runs. */
  readonly maxConnections?: number;
  /** The server cancels a statement that runs (or waits for a row) longer than this. Default 30 s. */
  readonly statementTimeoutMs?: number;
  /** The server ends a transaction that stays idle for this long, as that of a machine that vanished. Default 60 s. */
  readonly idleTransactionTimeoutMs?: number;
  /** Deadline for a connection, counting the wait for a free one in the pool. Default 10 s. */
  readonly connectTimeoutMs?: number;
  /** Shown in `pg_stat_activity`. Default `jetlane`. */
  readonly applicationName?: string;
  /** Told about connections that break while nobody uses them. They are replaced on demand; default: ignored. */
  readonly onConnectionError?: (error: Error) => void;
}

/**
 * Opens a pool on a PostgreSQL database; nothing is connected before the first query. Close it with `destroy()`.
 * 64-bit integers are read as numbers (columns of credits are bounded to the safe range), times as ISO 8601 strings,
 * so that a row is the same before and after it travelled as JSON.
 */
export function createDatabase(url: string, options: DatabaseOptions = {}): Database {
  const pool = new pg.Pool({
    connectionString: url,
    max: options.maxConnections ?? 10,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 10_000,
    statement_timeout: options.statementTimeoutMs ?? 30_000,
    idle_in_transaction_session_timeout: options.idleTransactionTimeoutMs ?? 60_000,
    application_name: options.applicationName ?? 'jetlane',
    keepAlive: true,
    types: { getTypeParser: typeParser },
  });
  const report = (error: Error): void => options.onConnectionError?.(error);
  pool.on('error', report);
  // A connection that breaks while it is checked out emits too, and an `error` without a listener ends the process.
  pool.on('connect', (client) => client.on('error', report));
  return new Kysely<JetlaneTables>({ dialect: new PostgresDialect({ pool: guardPool(pool) }) });
}

/** Resolves when the database answers; rejects with the driver's error otherwise. For readiness probes. */
export async function pingDatabase(db: Database): Promise<void> {
  await sql`select 1`.execute(db);
}

const INT8 = 20;
const TIMESTAMPTZ = 1184;

const typeParser: typeof pg.types.getTypeParser = (oid: number, format?: string) => {
  if (format !== 'binary') {
    if (oid === INT8) return Number;
    if (oid === TIMESTAMPTZ) return isoTime;
  }
  return pg.types.getTypeParser(oid, format as 'text');
};

function isoTime(text: string): string {
  const time = pg.types.getTypeParser(TIMESTAMPTZ, 'text')(text) as unknown;
  return time instanceof Date && !Number.isNaN(time.getTime()) ? time.toISOString() : text;
}
