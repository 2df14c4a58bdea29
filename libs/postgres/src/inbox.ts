import type { TaskContext } from '@jetlane/worker';
import type { Kysely, Transaction } from 'kysely';
import { DatabaseError, toTaskError } from './errors.js';
import type { TaskInboxTable } from './schema.js';

/** The part of a `TaskContext` that the inbox needs. */
export type InboxTask = Pick<TaskContext, 'id' | 'hop' | 'attempt' | 'type'> & { readonly signal?: AbortSignal };

interface InboxTables {
  task_inbox: TaskInboxTable;
}

/**
 * Runs `fn` at most once per task id: its writes, the task's inbox row and its result are one transaction.
 *
 * - The id is already there: nothing runs, the stored result is returned. This holds for redeliveries, retries and
 *   re-runs alike, as long as the row has not been purged.
 * - Two runs at once: the second waits for the first's row. It returns the first's result, or, if the first rolled
 *   back, runs itself.
 * - `fn` throws, the signal aborts or the connection breaks: nothing is changed, and the next run starts afresh.
 *
 * The result is stored as JSON: return what JSON can carry, or the second caller gets something else than the first.
 * @throws what `fn` throws; errors of the database as `FatalError` (data) or `DatabaseError` (worth another attempt)
 */
export async function withInbox<DB, R>(db: Kysely<DB>, task: InboxTask, fn: (trx: Transaction<DB>) => Promise<R>): Promise<R> {
  try {
    // Read committed, whatever the database's default: after waiting for another run its row must be visible.
    return await db
      .transaction()
      .setIsolationLevel('read committed')
      .execute((trx) => runOnce(trx, task, fn));
  } catch (error) {
    throw toTaskError(error);
  }
}

async function runOnce<DB, R>(trx: Transaction<DB>, task: InboxTask, fn: (trx: Transaction<DB>) => Promise<R>): Promise<R> {
  // The caller's own type need not list the inbox.
  const inbox = trx as unknown as Kysely<InboxTables>;
  const earlier = await claim(inbox, task);
  if (earlier) return earlier.result as R;
  const result = await fn(trx);
  await storeResult(inbox, task.id, result);
  // The last moment to heed a cancellation: what commits now is done, whatever becomes of the delivery.
  task.signal?.throwIfAborted();
  return result;
}

/** Inserts the task's row; if another run was first, waits for its commit and returns what it stored. */
async function claim(inbox: Kysely<InboxTables>, task: InboxTask): Promise<{ result: unknown } | undefined> {
  // The second round serves one case: the row was there at the insert and purged before the select.
  for (let round = 0; round < 2; round++) {
    const inserted = await inbox
      .insertInto('task_inbox')
      .values({ task_id: task.id, hop: task.hop, attempt: task.attempt, type: task.type })
      .onConflict((conflict) => conflict.column('task_id').doNothing())
      .returning('task_id')
      .executeTakeFirst();
    if (inserted) return undefined;
    const earlier = await inbox.selectFrom('task_inbox').select('result').where('task_id', '=', task.id).executeTakeFirst();
    if (earlier) return earlier;
  }
  throw new DatabaseError(`the inbox row of task "${task.id}" keeps vanishing; is the inbox purged too early?`, {
    details: { reason: 'inbox-row-vanished', id: task.id },
  });
}

async function storeResult(inbox: Kysely<InboxTables>, id: string, result: unknown): Promise<void> {
  const json = JSON.stringify(result);
  if (json === undefined) return;
  await inbox.updateTable('task_inbox').set({ result: json }).where('task_id', '=', id).execute();
}
