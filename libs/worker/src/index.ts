export { classifyError, type FailedRun, type Outcome } from './classify.js';
export type { TaskEvent, WorkerEvents } from './events.js';
export type { HandlerOptions, WorkerLimits, WorkerLog, WorkerOptions } from './options.js';
export { POISON_LIMIT } from './redelivery.js';
export { RESULT_LIMIT } from './settle.js';
export { type AnyTaskHandler, Cancelled, Interrupted, RetryLater, type TaskContext, type TaskHandler } from './task-context.js';
export { Worker } from './worker.js';
