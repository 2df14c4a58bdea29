import { FatalError, JetlaneError } from '@jetlane/protocol';
import pg from 'pg';

/** The database could not do it now; the task is tried again by its retry policy. `details.reason` says why. */
export class DatabaseError extends JetlaneError {
  constructor(message: string, options: { details?: Readonly<Record<string, unknown>>; cause?: unknown } = {}) {
    super('service-unavailable', message, { ...options, retryable: true });
  }
}

// PostgreSQL error classes (manual, appendix A) that come from the task's own data: no repetition can cure them.
const FATAL_CLASSES: Readonly<Record<string, string>> = {
  '21': 'cardinality-violation',
  '22': 'invalid-value',
  '23': 'constraint-violation',
};

const CONNECTION_LOST = 'connection-lost';

const RETRYABLE_STATES: Readonly<Record<string, string>> = {
  '40001': 'serialization-failure',
  '40P01': 'deadlock',
  '55P03': 'lock-timeout',
  '57014': 'statement-timeout',
  // The server goes down, comes up, or has no connection left.
  '57P01': CONNECTION_LOST,
  '57P02': CONNECTION_LOST,
  '57P03': CONNECTION_LOST,
  '53300': CONNECTION_LOST,
};

/**
 * What a failed query means for the task: a `FatalError` for values or references that the database refuses, a
 * `DatabaseError` for everything that time may cure (deadlock, timeout, lost connection, missing migration).
 * Errors that do not come from the database pass through untouched.
 */
export function toTaskError(error: unknown): unknown {
  if (!(error instanceof pg.DatabaseError) || !error.code) return error;
  const details = {
    sqlstate: error.code,
    ...(error.table && { table: error.table }),
    ...(error.constraint && { constraint: error.constraint }),
  };
  const fatal = FATAL_CLASSES[error.code.slice(0, 2)];
  if (fatal) {
    return new FatalError(`the database refuses the data: ${error.message}`, { details: { reason: fatal, ...details }, cause: error });
  }
  const reason = RETRYABLE_STATES[error.code] ?? 'database-error';
  return new DatabaseError(`the database could not finish (${reason}): ${error.message}`, {
    details: { reason, ...details },
    cause: error,
  });
}

/** The error for a connection that cannot be had or broke; what was under way in it is rolled back. */
export function connectionLost(cause: unknown): DatabaseError {
  const { code, message } = cause as { code?: unknown; message?: unknown };
  return new DatabaseError(`the database cannot be reached (${code ?? message}); check DATABASE_URL and that the server runs`, {
    details: { reason: CONNECTION_LOST, ...(typeof code === 'string' && { system: code }) },
    cause,
  });
}

/** True when the database was not there, or went away: no fault of the task, and the next task will fare the same. */
export function isDatabaseAway(error: unknown): boolean {
  return error instanceof DatabaseError && error.details.reason === CONNECTION_LOST;
}
