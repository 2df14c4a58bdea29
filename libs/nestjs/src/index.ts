export {
  type BatchedQueueAsyncOptions,
  BatchingModule,
  batchedQueueToken,
  InjectBatchedQueue,
} from './batching/batching.module.js';
