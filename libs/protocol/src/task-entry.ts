import type { TaskEntry } from './commands/search.js';
import type { ErrorRecord, StateRecord } from './record.js';

/** An error as lists show it and searches read it. */
export const errorText = ({ name, message }: Pick<ErrorRecord, 'name' | 'message'>): string => `${name}: ${message}`;

/** A task as lists and events show it, from its record: what is short of it. */
export function recordEntry(id: string, record: Omit<StateRecord, 'id'>): TaskEntry {
  const { state, lane, type, group, attempt, hop, at, error, reason, worker } = record;
  const { created, stored, started, finished } = at;
  return {
    ...{ id, queue: id.slice(0, id.indexOf('.')), state, attempt, hop },
    ...known({ lane, type, group, reason, worker, error: error && errorText(error) }),
    at: known({ created, stored, started, finished }),
  };
}

/** Without the fields that are undefined. */
const known = <T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as { [K in keyof T]?: Exclude<T[K], undefined> };
