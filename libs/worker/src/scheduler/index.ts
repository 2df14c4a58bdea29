export { DueMover, type DueMoverOptions, type Fate, type MoverLog } from './due-mover.js';
export type { DueTask } from './due-task.js';
export { Scheduler, type SchedulerOptions } from './scheduler.js';
