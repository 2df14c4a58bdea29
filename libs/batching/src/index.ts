export { BatchedQueue } from './batched-queue.js';
export type { Clock } from './clock.js';
export type { BatchingErrorCode } from './errors.js';
export { BATCHING_ERRORS, BatchingError, DrainTimeoutError, ItemFailedError, QueueFullError } from './errors.js';
export type { FileStorageOptions } from './file-storage.js';
export { fileSystemStorage } from './file-storage.js';
export type { EnqueueManyOptions, ProcessAllOptions, Progress, Source } from './large.js';
// What a queue is made with.
// What goes in and out of a processor.
export type {
  BatchContext,
  BatchedQueueOptions,
  BatchHooks,
  BatchProcessor,
  BatchResult,
  DeadItem,
  Duration,
  PersistenceOptions,
  RetryStrategy,
} from './options.js';
// What a storage of one's own is written against, and what one that is shared.
export type {
  BatchBroker,
  BatchHandle,
  BatchStorage,
  BrokerLink,
  LoadedState,
  StorageChange,
  StorageDamage,
  StoredItem,
} from './storage.js';
export { memoryStorage } from './storage.js';
