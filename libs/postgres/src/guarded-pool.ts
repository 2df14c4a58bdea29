import type { PostgresPool, PostgresPoolClient } from 'kysely';
import pg from 'pg';
import { connectionLost } from './errors.js';

/**
 * A pool whose errors say what broke: the driver reports a lost connection as a bare `Error` without a code, which
 * nothing but its message tells from an error in a handler.
 */
export function guardPool(pool: pg.Pool): PostgresPool {
  return {
    connect: async () => {
      try {
        return guardClient(await pool.connect());
      } catch (error) {
        throw connectionLost(error);
      }
    },
    end: () => pool.end(),
  };
}

function guardClient(client: pg.PoolClient): PostgresPoolClient {
  const query = async (text: string, values: unknown[]): Promise<unknown> => {
    try {
      return await client.query(text, values);
    } catch (error) {
      throw isBareError(error) ? connectionLost(error) : error;
    }
  };
  // Kysely streams through cursors only where the dialect is given a cursor class; ours is not.
  return { query: query as PostgresPoolClient['query'], release: () => client.release() };
}

/** Neither the server's answer nor a mistake in a parameter (`TypeError`, `RangeError`): the connection. */
function isBareError(error: unknown): boolean {
  return error instanceof Error && !(error instanceof pg.DatabaseError) && error.constructor === Error;
}
