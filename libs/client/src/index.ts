export type { CancelAnswer } from './cancel.js';
export type { GroupCancellation } from './cancel-group.js';
export { DeadLetterAdmin, type ManyOptions, type PageOptions, type RedriveOptions } from './dead-letters.js';
export type { NewTask, Receipt } from './new-task.js';
export type { LaneStats, QueueStats } from './queue-stats.js';
export { readQueueStats } from './queue-stats.js';
export type { TaskStatus } from './status.js';
export { type EnqueueManyOptions, type EnqueueSummary, type GroupCancelOptions, type QueuedTask, TaskClient } from './task-client.js';
export { MOST_BEHIND, type TaskEvent, type TaskEventBatch, type TaskEventOptions, TaskEvents } from './task-events.js';
