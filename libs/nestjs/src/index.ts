export type { ItemOutcome } from '@jetlane/worker';
export {
  type BatchedQueueAsyncOptions,
  BatchingModule,
  batchedQueueToken,
  InjectBatchedQueue,
} from './batching/batching.module.js';
export {
  defineTask,
  type TaskContract,
  type TaskDefinition,
  type TaskInput,
  type TaskPayload,
  type TaskResult,
  type TaskReturn,
} from './contracts/define-task.js';
export type { PayloadIssue } from './contracts/validate.js';
export { BatchContext, type BatchRequest } from './handlers/batch-context.js';
export { currentBatch, currentTask } from './handlers/current-task.js';
export { BatchHandler, OnTask, TaskHandler, TaskQueue } from './handlers/decorators.js';
export { TASK_CONTEXT, type TaskRequest } from './handlers/invoker.js';
export type {
  BatchHandlerOptions,
  DynamicTaskQueue,
  FromContainer,
  TaskEventName,
  TaskEventOf,
  TaskHandlerOptions,
  TaskQueueOptions,
} from './handlers/metadata.js';
export { TaskContext, TaskData, TaskSignal } from './handlers/params.js';
export { type BatchCalls, type DynamicBatchHandler, type DynamicHandler, TaskWorkers } from './handlers/workers.js';
export type { JetlaneRole } from './module/config.js';
export { Jetlane } from './module/jetlane.js';
export { JetlaneModule } from './module/jetlane.module.js';
export type {
  JetlaneModuleAsyncOptions,
  JetlaneModuleOptions,
  JetlaneOptions,
  JetlaneOptionsFactory,
  RegisterQueueAsyncOptions,
  RegisterQueueOptions,
} from './module/options.js';
export { type ManyOptions, Queue, type ResultOptions, type TaskReceipt } from './module/queue.js';
export type { TaskOptions } from './module/task-options.js';
export {
  getJetlaneToken,
  getOptionsToken,
  getQueueToken,
  getWorkersToken,
  InjectJetlane,
  InjectQueue,
  InjectWorkers,
} from './module/tokens.js';
