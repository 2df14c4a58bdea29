import { createDatabase, withInbox } from '@jetlane/postgres';
import type { TaskContext } from '@jetlane/worker';
import { sql } from 'kysely';

/** One row per effect, in the database; through the inbox, unless that is switched off. */
export async function openEffects(url: string, withoutInbox: boolean): Promise<(task: TaskContext) => Promise<unknown>> {
  const db = createDatabase(url, { maxConnections: 8 });
  if (withoutInbox) return ({ key }) => sql`insert into effects (task_key) values (${key})`.execute(db);
  return (task) => withInbox(db, task, async (trx) => void (await sql`insert into effects (task_key) values (${task.key})`.execute(trx)));
}
