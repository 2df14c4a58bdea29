import { type RawBuilder, sql } from 'kysely';

/** One step of the schema. Steps are never edited after a release: a change is a new step at the end. */
export interface Migration {
  readonly name: string;
  readonly statements: readonly RawBuilder<unknown>[];
}

/** The largest balance: JSON numbers are exact up to here. */
export const MAX_CREDITS = Number.MAX_SAFE_INTEGER;

const inbox = [
  // Half-empty pages: the result is written by an update of the new row, which then stays on its page (a HOT update).
  sql`create table task_inbox (
    task_id text primary key,
    hop integer not null,
    attempt integer not null,
    type text not null,
    result jsonb,
    processed_at timestamptz not null default now()
  ) with (fillfactor = 50)`,
  sql`create index task_inbox_processed_at on task_inbox (processed_at)`,
];

const accounts = [
  sql`create table users (
    id text primary key,
    name text,
    email text,
    balance bigint not null default 0 constraint users_balance_range check (balance between 0 and ${sql.lit(MAX_CREDITS)}),
    registered_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
  ) with (fillfactor = 70)`,
  sql`create table purchases (
    id bigint generated always as identity primary key,
    user_id text not null references users (id),
    amount bigint not null constraint purchases_amount_positive check (amount > 0),
    price numeric check (price >= 0),
    currency text,
    payment_id text,
    task_id text,
    created_at timestamptz not null default now()
  )`,
  sql`create unique index purchases_payment_id on purchases (payment_id) where payment_id is not null`,
  sql`create index purchases_user_id on purchases (user_id, created_at)`,
];

const movements = [
  sql`create table usages (
    id bigint generated always as identity primary key,
    user_id text not null references users (id),
    amount bigint not null check (amount > 0),
    reason text,
    task_id text,
    created_at timestamptz not null default now()
  )`,
  sql`create index usages_user_id on usages (user_id, created_at)`,
  sql`create table adjustments (
    id bigint generated always as identity primary key,
    user_id text not null references users (id),
    delta bigint not null,
    reason text,
    task_id text,
    created_at timestamptz not null default now()
  )`,
  sql`create index adjustments_user_id on adjustments (user_id, created_at)`,
  sql`create table credit_scores (
    user_id text primary key references users (id),
    score integer not null check (score between 0 and 1000),
    purchased bigint not null,
    used bigint not null,
    purchases bigint not null,
    calculated_at timestamptz not null default now()
  )`,
];

/** All steps, oldest first. */
export const MIGRATIONS: readonly Migration[] = [
  { name: '0001-inbox', statements: inbox },
  { name: '0002-accounts', statements: [...accounts, ...movements] },
  // Tells a repeated task from another one under the same key.
  { name: '0003-inbox-payload', statements: [sql`alter table task_inbox add column payload_hash text`] },
];
