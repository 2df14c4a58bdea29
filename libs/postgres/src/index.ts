export {
  type Access,
  type Collection,
  type Collections,
  type Column,
  column,
  DEFAULT_COLLECTIONS,
  OPERATIONS,
  type Operation,
} from './collections/config.js';
export { collectionHandlers } from './collections/handlers.js';
export type { FindResult } from './collections/queries.js';
export { CHANGE_LIMIT, FIND_LIMIT, MAX_ROWS, operationData } from './collections/schemas.js';
export type { CreditCalculationResult } from './credits/calculation.js';
export { creditHandlers } from './credits/handlers.js';
export type { CreditPurchaseResult } from './credits/purchase.js';
export type { UserRegistrationResult } from './credits/registration.js';
export {
  type CreditCalculationData,
  type CreditPurchaseData,
  type CreditUpdateData,
  creditCalculationData,
  creditPurchaseData,
  creditUpdateData,
  type UserRegistrationData,
  userRegistrationData,
} from './credits/schemas.js';
export { computeScore, type ScoreFigures } from './credits/score.js';
export type { CreditUpdateResult } from './credits/update.js';
export { createDatabase, type DatabaseOptions, pingDatabase } from './database.js';
export { DatabaseError, isDatabaseAway, toTaskError } from './errors.js';
export { createHandlers, type HandlerOptions } from './handlers.js';
export { type InboxOptions, type InboxTask, withInbox } from './inbox.js';
export { InboxJanitor, type JanitorOptions, type PurgeOptions, purgeInbox } from './inbox-purge.js';
export { type Issue, invalidData, parseData } from './input.js';
export { migrate } from './migrate.js';
export { MAX_CREDITS } from './migrations.js';
export type {
  AdjustmentsTable,
  CreditScoresTable,
  Database,
  DatabaseTransaction,
  JetlaneTables,
  PurchasesTable,
  TaskInboxTable,
  UsagesTable,
  UsersTable,
} from './schema.js';
