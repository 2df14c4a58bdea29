import type { TaskHandler } from '@jetlane/worker';
import type { Kysely } from 'kysely';
import { toTaskError } from '../errors.js';
import { withInbox } from '../inbox.js';
import { parseData } from '../input.js';
import type { Database } from '../schema.js';
import type { Collections, Operation } from './config.js';
import { type AnyTables, count, find, insert, remove, update, upsert } from './queries.js';
import { type OperationData, operationData } from './schemas.js';

type Query<K extends Operation> = (db: Kysely<AnyTables>, collections: Collections, data: OperationData[K]) => Promise<unknown>;

/** Handlers of the generic database operations, by task type, on these collections and nothing else. */
export function collectionHandlers(db: Database, collections: Collections, scope?: string): Record<Operation, TaskHandler<unknown>> {
  const any = db as unknown as Kysely<AnyTables>;
  const changing =
    <K extends Operation>(operation: K, query: Query<K>): TaskHandler<unknown> =>
    async (data, ctx) => {
      const checked = parseData(operationData[operation], data, operation) as OperationData[K];
      return await withInbox(any, ctx, (trx) => query(trx, collections, checked), { payload: data, ...(scope ? { scope } : {}) });
    };
  return {
    insert: changing('insert', insert),
    upsert: changing('upsert', upsert),
    update: changing('update', update),
    delete: changing('delete', remove),
    find: reading(any, collections, 'find', find),
    count: reading(any, collections, 'count', count),
  };
}

/** Reading needs no inbox: to do it again does no harm, and the later answer is the better one. */
function reading<K extends Operation>(
  db: Kysely<AnyTables>,
  collections: Collections,
  operation: K,
  query: Query<K>,
): TaskHandler<unknown> {
  return async (data) => {
    const checked = parseData(operationData[operation], data, operation) as OperationData[K];
    try {
      return await query(db, collections, checked);
    } catch (error) {
      throw toTaskError(error);
    }
  };
}
