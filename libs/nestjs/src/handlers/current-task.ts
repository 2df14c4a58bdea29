import { AsyncLocalStorage } from 'node:async_hooks';
import type { TaskContext } from '@jetlane/worker';
import { BatchContext } from './batch-context.js';

/** The task, or the batch, that each asynchronous run belongs to. */
export const taskStorage = new AsyncLocalStorage<TaskContext | BatchContext>();

/**
 * The task that is being handled by whoever calls this, directly or through any number of awaits; for loggers and the like.
 * Undefined outside of handlers, in batch handlers (see {@link currentBatch}), and where the module's option `asyncContext` is false.
 */
export const currentTask = (): TaskContext | undefined => {
  const current = taskStorage.getStore();
  return current instanceof BatchContext ? undefined : current;
};

/** The batch that is being handled by whoever calls this; undefined outside of batch handlers, and where `asyncContext` is false. */
export const currentBatch = (): BatchContext | undefined => {
  const current = taskStorage.getStore();
  return current instanceof BatchContext ? current : undefined;
};
