import { createHandlers, type Database, isDatabaseAway } from '@jetlane/postgres';
import { RetryLater, type TaskHandler } from '@jetlane/worker';

const SHORTEST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 5000;

/** The handlers of the worker host by task type, on this database. */
export function createHostHandlers(db: Database, namespace?: string): Record<string, TaskHandler<unknown>> {
  return Object.fromEntries(
    Object.entries(createHandlers(db, namespace ? { namespace } : {})).map(([type, handler]) => [type, outlastOutage(handler)]),
  );
}

/**
 * While the database is away, tasks wait: it is no fault of theirs, so it costs them no attempt, and a restart of the
 * database that takes longer than a retry policy ends in no dead letters.
 */
export function outlastOutage(handler: TaskHandler<unknown>): TaskHandler<unknown> {
  return async (data, ctx) => {
    try {
      return await handler(data, ctx);
    } catch (error) {
      if (!isDatabaseAway(error)) throw error;
      const delay = Math.round(SHORTEST_WAIT_MS + Math.random() * (LONGEST_WAIT_MS - SHORTEST_WAIT_MS));
      throw new RetryLater(delay, { countsAsAttempt: false, message: (error as Error).message });
    }
  };
}
