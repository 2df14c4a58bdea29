import type { TaskHandler } from '@jetlane/worker';
import { type Collections, DEFAULT_COLLECTIONS } from './collections/config.js';
import { collectionHandlers } from './collections/handlers.js';
import { creditHandlers } from './credits/handlers.js';
import type { Database } from './schema.js';

/** Options of `createHandlers`. */
export interface HandlerOptions {
  /** What the generic operations may reach. Default: Jetlane's own tables; see `DEFAULT_COLLECTIONS`. */
  readonly collections?: Collections;
  /** Keeps installations apart that share a database. Default: none. */
  readonly namespace?: string;
}

/**
 * All database handlers by task type: `user_registration`, `credit_purchase`, `credit_update`, `credit_calculation`,
 * and the generic `insert`, `update`, `upsert`, `delete`, `find`, `count`.
 */
export function createHandlers(db: Database, options: HandlerOptions = {}): Record<string, TaskHandler<unknown>> {
  const { namespace, collections = DEFAULT_COLLECTIONS } = options;
  return { ...creditHandlers(db, namespace), ...collectionHandlers(db, collections, namespace) };
}
