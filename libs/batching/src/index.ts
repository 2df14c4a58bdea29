export { BatchedQueue } from './batched-queue.js';
export type { Clock } from './clock.js';
export { BATCHING_ERRORS, BatchingError, type BatchingErrorCode, DrainTimeoutError, ItemFailedError, QueueFullError } from './errors.js';
export { type FileStorageOptions, fileSystemStorage } from './file-storage.js';
export type { EnqueueManyOptions, ProcessAllOptions, Progress, Source } from './large.js';
export type {
  BatchBroker,
  BatchContext,
  BatchedQueueOptions,
  BatchHooks,
  BatchProcessor,
  BatchResult,
  BrokerLink,
  DeadItem,
  PersistenceOptions,
  RetryStrategy,
} from './options.js';
export type { Duration } from './rules.js';
export type { BatchHandle, BatchStorage, LoadedState, StorageChange, StorageDamage, StoredItem } from './storage.js';
export { memoryStorage } from './storage.js';
