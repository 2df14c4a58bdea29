export type { CancelAnswer } from './cancel.js';
export type { GroupCancellation } from './cancel-group.js';
export { DeadLetterAdmin, type ManyOptions, type PageOptions, type RedriveOptions } from './dead-letters.js';
export type { NewTask, Receipt } from './new-task.js';
export type { LaneStats, QueueStats } from './queue-stats.js';
export { readQueueStats } from './queue-stats.js';
export { type Destination, moveTask, purgeTask, type WaitingTask } from './relocate.js';
export type { TaskStatus } from './status.js';
export { type EnqueueManyOptions, type EnqueueSummary, type GroupCancelOptions, type QueuedTask, TaskClient } from './task-client.js';
