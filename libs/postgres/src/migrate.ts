import { type Kysely, sql } from 'kysely';
import { MIGRATIONS, type Migration } from './migrations.js';
import type { Database } from './schema.js';

interface MigrationTables {
  jetlane_migrations: { name: string };
}

// Any number, as long as nobody else uses it: the first eight bytes of "jetlane:migrate" as an integer.
const LOCK = 7_666_661_949_508_052_282n;

/**
 * Brings the schema up to date and returns the names of the steps that ran now (none when it already was).
 * All of it is one transaction behind an advisory lock: processes that start together wait for the first, and a step
 * that fails leaves nothing behind. Steps that a newer version has added are ignored, so that the old and the new
 * version can run side by side during a rolling update (why it is not Kysely's migrator, which refuses that).
 */
export async function migrate(db: Database): Promise<string[]> {
  return await db.transaction().execute(async (trx) => {
    // Waiting for another process's long step is no reason to give up.
    await sql`set local statement_timeout = 0`.execute(trx);
    await sql`select pg_advisory_xact_lock(${sql.lit(LOCK)})`.execute(trx);
    await sql`create table if not exists jetlane_migrations (name text primary key, applied_at timestamptz not null default now())`.execute(
      trx,
    );
    const history = trx as unknown as Kysely<MigrationTables>;
    const rows = await history.selectFrom('jetlane_migrations').select('name').execute();
    const applied = new Set(rows.map((row) => row.name));
    const pending = MIGRATIONS.filter((migration) => !applied.has(migration.name));
    for (const migration of pending) await apply(history, migration);
    return pending.map((migration) => migration.name);
  });
}

async function apply(db: Kysely<MigrationTables>, migration: Migration): Promise<void> {
  for (const statement of migration.statements) await statement.execute(db);
  await db.insertInto('jetlane_migrations').values({ name: migration.name }).execute();
}
