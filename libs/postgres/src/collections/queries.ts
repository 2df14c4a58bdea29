import { FatalError } from '@jetlane/protocol';
import { type ExpressionBuilder, type ExpressionWrapper, type Kysely, type SqlBool, sql } from 'kysely';
import { CollectionCheck, type Condition, OPERATORS } from './check.js';
import type { Collection, Collections } from './config.js';
import type { OperationData } from './schemas.js';

type Row = Record<string, unknown>;

/** Any table, any column: the names have passed a `CollectionCheck`, and Kysely quotes them. */
export type AnyTables = Record<string, Row>;
type AnyDatabase = Kysely<AnyTables>;

/** Rows as `find` gives them. `more` says that the limit cut some off. */
export interface FindResult {
  readonly rows: readonly Row[];
  readonly more: boolean;
}

export async function find(db: AnyDatabase, collections: Collections, data: OperationData['find']): Promise<FindResult> {
  const check = CollectionCheck.open(collections, data.collection, 'find');
  const { table, key, columns } = check.collection;
  check.columns(data.columns ?? [], 'columns');
  check.columns(Object.keys(data.order_by ?? {}), 'order_by');
  const conditions = finished(check, data.filter);
  let query = db
    .selectFrom(table)
    .select(data.columns ?? Object.keys(columns))
    .where((eb) => allOf(eb, conditions));
  for (const [column, direction] of Object.entries(data.order_by ?? {})) query = query.orderBy(column, direction);
  // The key last: without it, rows that are equal in the given order would move between pages.
  for (const column of key) query = query.orderBy(column, 'asc');
  const rows = await query
    .limit(data.limit + 1)
    .offset(data.offset)
    .execute();
  return { rows: rows.slice(0, data.limit), more: rows.length > data.limit };
}

export async function count(db: AnyDatabase, collections: Collections, data: OperationData['count']): Promise<{ count: number }> {
  const check = CollectionCheck.open(collections, data.collection, 'count');
  const conditions = finished(check, data.filter);
  const row = await db
    .selectFrom(check.collection.table)
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where((eb) => allOf(eb, conditions))
    .executeTakeFirstOrThrow();
  return { count: row.count };
}

export async function insert(
  db: AnyDatabase,
  collections: Collections,
  data: OperationData['insert'],
): Promise<{ inserted: number; keys: Row[] }> {
  const check = CollectionCheck.open(collections, data.collection, 'insert');
  for (const row of data.data) check.row(row, 'insert', 'data');
  check.done();
  const { table, key } = check.collection;
  const keys = await db
    .insertInto(table)
    .values(data.data)
    .returning([...key])
    .execute();
  return { inserted: keys.length, keys };
}

export async function upsert(
  db: AnyDatabase,
  collections: Collections,
  data: OperationData['upsert'],
): Promise<{ upserted: number; keys: Row[] }> {
  const check = CollectionCheck.open(collections, data.collection, 'upsert');
  for (const row of data.data) check.row(row, 'insert', 'data');
  check.done();
  const { table, key } = check.collection;
  const changes = changesOnConflict(check.collection, data.data);
  const keys = await db
    .insertInto(table)
    .values(data.data)
    .onConflict((conflict) => conflict.columns([...key]).doUpdateSet(changes))
    .returning([...key])
    .execute();
  return { upserted: keys.length, keys };
}

export async function update(db: AnyDatabase, collections: Collections, data: OperationData['update']): Promise<{ updated: number }> {
  const check = CollectionCheck.open(collections, data.collection, 'update');
  check.row(data.data, 'write', 'data');
  const conditions = finished(check, data.filter);
  const { numUpdatedRows } = await db
    .updateTable(check.collection.table)
    .set({ ...data.data, ...touched(check.collection) })
    .where((eb) => allOf(eb, conditions))
    .executeTakeFirstOrThrow();
  return { updated: withinLimit(Number(numUpdatedRows), data.limit) };
}

export async function remove(db: AnyDatabase, collections: Collections, data: OperationData['delete']): Promise<{ deleted: number }> {
  const check = CollectionCheck.open(collections, data.collection, 'delete');
  const conditions = finished(check, data.filter);
  const { numDeletedRows } = await db
    .deleteFrom(check.collection.table)
    .where((eb) => allOf(eb, conditions))
    .executeTakeFirstOrThrow();
  return { deleted: withinLimit(Number(numDeletedRows), data.limit) };
}

function finished(check: CollectionCheck, filter: Row): Condition[] {
  const conditions = check.filter(filter);
  check.done();
  return conditions;
}

function allOf(eb: ExpressionBuilder<AnyTables, string>, conditions: readonly Condition[]): ExpressionWrapper<AnyTables, string, SqlBool> {
  return eb.and(
    conditions.map(({ column, operator, value }) => {
      if (value === null && operator === 'eq') return eb(column, 'is', null);
      if (value === null && operator === 'ne') return eb(column, 'is not', null);
      return eb(column, OPERATORS[operator], value);
    }),
  );
}

/** A row that exists takes over the columns that may be changed; columns for new rows only keep their value. */
function changesOnConflict(collection: Collection, rows: readonly Row[]): Row {
  const given = new Set(rows.flatMap((row) => Object.keys(row)));
  const writable = [...given].filter((name) => collection.columns[name]?.access === 'write');
  // Never empty, so that the row is returned and locked: the key set to itself changes nothing.
  const names = writable.length > 0 ? writable : collection.key;
  return {
    ...Object.fromEntries(names.map((name) => [name, sql`excluded.${sql.ref(name)}`])),
    ...(writable.length > 0 && touched(collection)),
  };
}

function touched(collection: Collection): Row {
  return collection.touch ? { [collection.touch]: sql`now()` } : {};
}

/** Thrown inside the task's transaction, so that too wide a filter changes nothing at all. */
function withinLimit(rows: number, limit: number): number {
  if (rows <= limit) return rows;
  throw new FatalError(`the filter matches ${rows} rows, the limit is ${limit}; nothing was changed; narrow the filter or raise "limit"`, {
    details: { reason: 'too-many-rows', rows, limit },
  });
}
