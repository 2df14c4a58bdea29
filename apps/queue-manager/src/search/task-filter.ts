import type { CommandInput, ListedState, SEARCH_COMMANDS, TaskEntry } from '@jetlane/protocol';

/** What a search asks for, without its page. */
export interface TaskFilter extends Pick<CommandInput<typeof SEARCH_COMMANDS.tasks>, 'queue' | 'lane' | 'type' | 'group' | 'from' | 'to'> {
  readonly states: ReadonlySet<ListedState>;
  readonly error?: string;
  /** In lower case. */
  readonly payload?: string;
}

/** What one page may cost: beyond it the page ends, with a cursor. */
export interface Budget {
  /** Tasks that it may still give back. */
  items: number;
  /** Tasks, and bytes, that it may still look at. */
  scans: number;
  bytes: number;
  /** `performance.now()` at which it ends. */
  readonly deadline: number;
}

export const isSpent = ({ items, scans, bytes, deadline }: Budget): boolean =>
  items <= 0 || scans <= 0 || bytes <= 0 || performance.now() > deadline;

/** A part of a list. */
export interface Part {
  readonly entries: readonly TaskEntry[];
  /** Where to go on; missing when this source is at its end. */
  readonly next?: string;
}

/** Tasks of some states, in an order of its own. What `read` looks at it takes off the budget. */
export interface TaskSource {
  readonly states: readonly ListedState[];
  read(filter: TaskFilter, after: string | undefined, budget: Budget): Promise<Part>;
}

/** Whether an entry fits all conditions but those on time, which sources know better. */
export function fits(entry: TaskEntry, filter: TaskFilter, data?: Uint8Array): boolean {
  const { queue, lane, type, group, states, error, payload } = filter;
  if (!states.has(entry.state as ListedState)) return false;
  if (queue !== undefined && entry.queue !== queue) return false;
  if (lane !== undefined && entry.lane !== lane) return false;
  if (type !== undefined && entry.type !== type) return false;
  if (group !== undefined && entry.group !== group) return false;
  if (error !== undefined && !entry.error?.toLowerCase().includes(error.toLowerCase())) return false;
  return payload === undefined || (data !== undefined && Buffer.from(data).toString('utf8').toLowerCase().includes(payload));
}

/** Whether a time lies within the filter's. */
export const within = (time: number, { from = 0, to = Number.POSITIVE_INFINITY }: TaskFilter): boolean => time >= from && time < to;
