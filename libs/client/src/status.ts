import { directGet, leaderGet, sureGet, type TaskCopy, type TaskStore, type TaskTraces } from '@jetlane/jetstream';
import {
  type AttemptError,
  type ErrorRecord,
  formatTaskId,
  HEADER,
  type HopTimes,
  headerValue,
  isFinal,
  JetlaneError,
  type Lane,
  type LogLine,
  parseHistory,
  type StateRecord,
  type TaskId,
  type TaskState,
} from '@jetlane/protocol';
import type { RunningTasks } from './running-tasks.js';

/** All that is known about a task. */
export interface TaskStatus {
  readonly id: string;
  readonly queue: string;
  readonly state: TaskState;
  readonly lane?: Lane;
  readonly type?: string;
  readonly group?: string;
  readonly attempt: number;
  readonly hop: number;
  /** The time of every hop so far, ms since 1970; `scheduledFor` while a timer waits. */
  readonly at: HopTimes & { readonly scheduledFor?: number };
  readonly result?: unknown;
  readonly error?: ErrorRecord;
  readonly reason?: string;
  readonly worker?: string;
  readonly trace?: string;
  /** What the handler told last: percent, or an object of its own. While it runs, at most about a second old. */
  readonly progress?: unknown;
  /** The last lines that the last run logged; known when the task is finished. */
  readonly log?: readonly LogLine[];
  /** Attempts that failed, oldest first. */
  readonly history: readonly AttemptError[];
}

/**
 * Order of belief among what is found of the same hop: what is live beats what is written down, except for a final
 * record: it is stored before the ack, so a live copy beside it is settled and only waits for its ack
 * (docs/decisions/0003).
 */
const BELIEF: Readonly<Record<TaskCopy['place'], number>> = { lane: 4, due: 3, timer: 2, dead: 1 };
const beliefOf = (record: StateRecord): number => record.hop * 8 + (isFinal(record.state) ? 5 : 0);

/**
 * Looks a task up everywhere at once: the highest hop wins; see {@link BELIEF} for the same hop. Before it says
 * that there is none it asks once more, from the stream leaders, since a replica may lag; and never does while the lanes of a queue that is
 * defined are missing, as when they are made anew.
 * @throws JetlaneError `task-not-found`; `no-responders`, to be tried again
 */
export async function lookUp(
  store: TaskStore,
  { queue, key }: TaskId,
  running: RunningTasks,
  isDefined: (queue: string) => Promise<boolean>,
): Promise<TaskStatus> {
  const near = await store.traces(queue, key, directGet).catch(unanswered);
  const status = (near && statusOf(queue, key, near, running)) ?? statusOf(queue, key, await store.traces(queue, key, leaderGet), running);
  if (status) return status;
  if (!near && (await isDefined(queue))) {
    const sure = statusOf(queue, key, await store.traces(queue, key, sureGet), running);
    if (sure) return sure;
  }
  throw new JetlaneError(
    'task-not-found',
    `task "${formatTaskId(queue, key)}" is not known; it was never enqueued, or its record has expired`,
    { details: { id: formatTaskId(queue, key) } },
  );
}

/** Nobody answers for a stream that does not exist, as of a queue that is not defined; only the leaders know for sure. */
function unanswered(error: unknown): undefined {
  if (!(error instanceof JetlaneError && error.code === 'no-responders')) throw error;
}

function statusOf(queue: string, key: string, traces: TaskTraces, running: RunningTasks): TaskStatus | undefined {
  const { record, copies } = traces;
  const rank = (copy: TaskCopy) => copy.hop * 8 + BELIEF[copy.place];
  const best = copies.reduce<TaskCopy | undefined>((top, copy) => (top && rank(top) >= rank(copy) ? top : copy), undefined);
  const dead = copies.find((copy) => copy.place === 'dead');
  if (record && (!best || beliefOf(record) > rank(best))) {
    const { id, hop, state, lane, type, group, attempt, at, result, error, reason, worker, trace, progress, log } = record;
    const history = dead && dead.hop >= hop ? parseHistory(headerOf(dead, HEADER.errors)) : (record.history ?? []);
    return clean({ id, queue, state, lane, type, group, attempt, hop, at, result, error, reason, worker, trace, progress, log, history });
  }
  return best && fromCopy(queue, key, best, running);
}

function fromCopy(queue: string, key: string, copy: TaskCopy, running: RunningTasks): TaskStatus {
  const attempt = Number(headerOf(copy, HEADER.attempt) ?? 1) || 1;
  const run = copy.place === 'lane' ? running.find(queue, key, copy.hop) : undefined;
  const created = Number(headerOf(copy, HEADER.createdAt)) || undefined;
  const scheduledFor = copy.place === 'timer' ? timerTime(copy) : undefined;
  return clean({
    id: formatTaskId(queue, key),
    queue,
    state: run ? 'running' : stateOf(copy, attempt),
    lane: copy.lane ?? laneOf(copy),
    type: headerOf(copy, HEADER.type),
    group: headerOf(copy, HEADER.group),
    attempt,
    hop: copy.hop,
    at: clean({ created, stored: copy.stored.storedAt, started: run?.startedAt, scheduledFor }),
    error: parseJson(headerOf(copy, HEADER.deadError)),
    reason: headerOf(copy, HEADER.deadReason),
    worker: run?.worker,
    progress: run?.progress,
    trace: headerOf(copy, HEADER.traceparent)?.split('-')[1],
    history: parseHistory(headerOf(copy, HEADER.errors)),
  });
}

function stateOf(copy: TaskCopy, attempt: number): TaskState {
  if (copy.place === 'dead') return 'dead';
  if (copy.place === 'timer') return attempt > 1 ? 'retrying' : 'scheduled';
  return 'queued';
}

/** Timers and due tasks carry their lane in a subject. */
function laneOf(copy: TaskCopy): Lane | undefined {
  const subject = copy.place === 'timer' ? headerOf(copy, HEADER.scheduleTarget) : copy.place === 'due' ? copy.stored.subject : undefined;
  return subject?.split('.').at(-2) as Lane | undefined;
}

function timerTime(copy: TaskCopy): number | undefined {
  return Date.parse(headerOf(copy, HEADER.schedule)?.slice('@at '.length) ?? '') || undefined;
}

const headerOf = (copy: TaskCopy, name: string): string | undefined => headerValue(copy.stored.headers, name);

function parseJson(text: string | undefined): ErrorRecord | undefined {
  try {
    return text ? (JSON.parse(text) as ErrorRecord) : undefined;
  } catch {
    return undefined;
  }
}

/** Without the fields that are undefined. */
function clean<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T;
}
