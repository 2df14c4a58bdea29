import { createHash } from 'node:crypto';
import { FatalError } from '@jetlane/protocol';
import type { TaskContext } from '@jetlane/worker';
import type { Kysely, Transaction } from 'kysely';
import { DatabaseError, toTaskError } from './errors.js';
import type { TaskInboxTable } from './schema.js';

/** The part of a `TaskContext` that the inbox needs. */
export type InboxTask = Pick<TaskContext, 'id' | 'hop' | 'attempt' | 'type'> & { readonly signal?: AbortSignal };

/** What tells one task from another that bears the same id. */
export interface InboxOptions {
  /** The task's payload. With it, an id that comes again with another payload is an error instead of an answer. */
  readonly payload?: unknown;
  /** Keeps installations apart that share a database: the namespace. */
  readonly scope?: string;
}

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
 * - The id is there with another payload: somebody used it for a new task. That task is refused, or it would be taken for
 *   done without a trace.
 * - `fn` throws, the signal aborts or the connection breaks: nothing is changed, and the next run starts afresh.
 *
 * The result is stored as JSON: return what JSON can carry, or the second caller gets something else than the first.
 * @throws FatalError `idempotency-conflict` for another payload; what `fn` throws; errors of the database as `FatalError` (data) or `DatabaseError` (worth another attempt)
 */
export async function withInbox<DB, R>(
  db: Kysely<DB>,
  task: InboxTask,
  fn: (trx: Transaction<DB>) => Promise<R>,
  options: InboxOptions = {},
): Promise<R> {
  const row = rowOf(task, options);
  try {
    // Read committed, whatever the database's default: after waiting for another run its row must be visible.
    return await db
      .transaction()
      .setIsolationLevel('read committed')
      .execute((trx) => runOnce(trx, task, row, fn));
  } catch (error) {
    throw toTaskError(error);
  }
}

interface InboxRow {
  readonly task_id: string;
  readonly hop: number;
  readonly attempt: number;
  readonly type: string;
  readonly payload_hash: string | null;
}

function rowOf({ id, hop, attempt, type }: InboxTask, { payload, scope }: InboxOptions): InboxRow {
  const hash =
    payload === undefined
      ? null
      : createHash('sha256')
          .update(`${type}\0${JSON.stringify(payload)}`)
          .digest('hex')
          .slice(0, 32);
  return { task_id: scope ? `${scope}/${id}` : id, hop, attempt, type, payload_hash: hash };
}

async function runOnce<DB, R>(trx: Transaction<DB>, task: InboxTask, row: InboxRow, fn: (trx: Transaction<DB>) => Promise<R>): Promise<R> {
  // The caller's own type need not list the inbox.
  const inbox = trx as unknown as Kysely<InboxTables>;
  const earlier = await claim(inbox, row);
  if (earlier) return earlier.result as R;
  const result = await fn(trx);
  await storeResult(inbox, row.task_id, result);
  // The last moment to heed a cancellation: what commits now is done, whatever becomes of the delivery.
  task.signal?.throwIfAborted();
  return result;
}

/** Inserts the task's row; if another run was first, waits for its commit and returns what it stored. */
async function claim(inbox: Kysely<InboxTables>, row: InboxRow): Promise<{ result: unknown } | undefined> {
  // The second round serves one case: the row was there at the insert and purged before the select.
  for (let round = 0; round < 2; round++) {
    const inserted = await inbox
      .insertInto('task_inbox')
      .values(row)
      .onConflict((conflict) => conflict.column('task_id').doNothing())
      .returning('task_id')
      .executeTakeFirst();
    if (inserted) return undefined;
    const earlier = await inbox
      .selectFrom('task_inbox')
      .select(['result', 'payload_hash'])
      .where('task_id', '=', row.task_id)
      .executeTakeFirst();
    if (earlier) return same(row, earlier);
  }
  throw new DatabaseError(`the inbox row of task "${row.task_id}" keeps vanishing; is the inbox purged too early?`, {
    details: { reason: 'inbox-row-vanished', id: row.task_id },
  });
}

function same(row: InboxRow, earlier: { result: unknown; payload_hash: string | null }): { result: unknown } {
  if (row.payload_hash === null || earlier.payload_hash === null || row.payload_hash === earlier.payload_hash) return earlier;
  throw new FatalError(`task "${row.task_id}" was done before with another payload; use a new key for a new task`, {
    code: 'idempotency-conflict',
    details: { id: row.task_id },
  });
}

async function storeResult(inbox: Kysely<InboxTables>, id: string, result: unknown): Promise<void> {
  const json = JSON.stringify(result);
  if (json === undefined) return;
  await inbox.updateTable('task_inbox').set({ result: json }).where('task_id', '=', id).execute();
}
