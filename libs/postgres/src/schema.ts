import type { ColumnType, Generated, Kysely, Transaction } from 'kysely';

/** A `timestamptz`: read as an ISO 8601 string, filled in by the database when it is not given. */
type Timestamp = ColumnType<string, string | undefined, string>;

/** An account. `balance` is in credits, never negative; `registered_at` is null while only movements have been seen. */
export interface UsersTable {
  id: string;
  name: string | null;
  email: string | null;
  balance: Generated<number>;
  registered_at: ColumnType<string | null, string | null | undefined, string | null>;
  created_at: Timestamp;
  updated_at: Timestamp;
}

/** Credits bought. A `payment_id` occurs once: the same payment is never credited twice. */
export interface PurchasesTable {
  id: Generated<number>;
  user_id: string;
  amount: number;
  price: string | number | null;
  currency: string | null;
  payment_id: string | null;
  task_id: string | null;
  created_at: Timestamp;
}

/** Credits spent. */
export interface UsagesTable {
  id: Generated<number>;
  user_id: string;
  amount: number;
  reason: string | null;
  task_id: string | null;
  created_at: Timestamp;
}

/** Credits granted or corrected: neither bought nor spent. `delta` may be negative. */
export interface AdjustmentsTable {
  id: Generated<number>;
  user_id: string;
  delta: number;
  reason: string | null;
  task_id: string | null;
  created_at: Timestamp;
}

/** The last score of an account, with the figures that it was computed from. */
export interface CreditScoresTable {
  user_id: string;
  score: number;
  purchased: number;
  used: number;
  purchases: number;
  calculated_at: Timestamp;
}

/** Tasks whose effects are in this database, with their results. */
export interface TaskInboxTable {
  task_id: string;
  hop: number;
  attempt: number;
  type: string;
  payload_hash: string | null;
  result: ColumnType<unknown, string | null | undefined, string | null>;
  processed_at: Timestamp;
}

/** All tables that `migrate` creates. */
export interface JetlaneTables {
  users: UsersTable;
  purchases: PurchasesTable;
  usages: UsagesTable;
  adjustments: AdjustmentsTable;
  credit_scores: CreditScoresTable;
  task_inbox: TaskInboxTable;
}

/** A pool of connections to a database with Jetlane's tables. */
export type Database = Kysely<JetlaneTables>;

/** An open transaction on such a database. */
export type DatabaseTransaction = Transaction<JetlaneTables>;
