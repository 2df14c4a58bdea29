import { AsyncLocalStorage } from 'node:async_hooks';
import type { TaskContext } from '@jetlane/worker';

/** The task that each asynchronous run belongs to. */
export const taskStorage = new AsyncLocalStorage<TaskContext>();

/**
 * The task that is being handled by whoever calls this, directly or through any number of awaits; for loggers and the like.
 * Undefined outside of handlers, and where the module's option `asyncContext` is false.
 */
export const currentTask = (): TaskContext | undefined => taskStorage.getStore();
