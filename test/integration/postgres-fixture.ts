import { randomUUID } from 'node:crypto';
import { createDatabase, createHandlers, type Database, type DatabaseOptions, migrate } from '@jetlane/postgres';
import { sql } from 'kysely';

type Handlers = ReturnType<typeof createHandlers>;
type Context = Parameters<Handlers[string]>[1];

/** A context as the worker would give it; every call is another task unless a key is given. */
export function taskContext(type: string, overrides: Partial<Context> = {}): Context {
  const key = overrides.key ?? randomUUID();
  return {
    id: `default.${key}`,
    key,
    queue: 'default',
    lane: 'normal',
    type,
    attempt: 1,
    hop: 1,
    delivery: 1,
    signal: new AbortController().signal,
    createdAt: Date.now(),
    fencingToken: 1,
    group: undefined,
    traceparent: undefined,
    ...overrides,
  };
}

/** A new database on the server, migrated; `run` does one task on it. */
export async function freshDatabase(serverUrl: string, options: DatabaseOptions = {}) {
  const { db, url } = await emptyDatabase(serverUrl, options);
  await migrate(db);
  const handlers = createHandlers(db);
  return { db, url, run: runner(handlers) };
}

/** A new database on the server, with no table in it. */
export async function emptyDatabase(serverUrl: string, options: DatabaseOptions = {}): Promise<{ db: Database; url: string }> {
  const name = `t_${randomUUID().replaceAll('-', '')}`;
  const admin = createDatabase(serverUrl, { maxConnections: 1 });
  await sql`create database ${sql.id(name)}`.execute(admin);
  await admin.destroy();
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return { db: createDatabase(url.href, options), url: url.href };
}

function runner(handlers: Handlers) {
  return async (type: string, data: unknown, overrides: Partial<Context> = {}): Promise<unknown> => {
    const handler = handlers[type];
    if (!handler) throw new Error(`no handler ${type}`);
    return await handler(data, taskContext(type, overrides));
  };
}

/** The rejection of a promise; fails when it resolves. */
export async function rejection(
  promise: Promise<unknown>,
): Promise<Error & { code?: string; retryable?: boolean; details?: Record<string, unknown> }> {
  return await promise.then(
    (value) => {
      throw new Error(`expected a rejection, got ${JSON.stringify(value)}`);
    },
    (error: Error) => error,
  );
}

/** A promise with its handles, as `Promise.withResolvers` of Node 22 gives it. */
export function deferred<T>() {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
