import { type Connection, deleteMessage, directGetNext, hopOf, type StoredMessage, TaskStore } from '@jetlane/jetstream';
import { HEADER, headerValue, LANES, type Lane } from '@jetlane/protocol';

/** A task that waits: in a lane, or behind a timer. */
export interface WaitingTask {
  readonly key: string;
  readonly type: string | undefined;
  /** Parsed JSON, or bytes. */
  readonly data: unknown;
  readonly lane: Lane;
  readonly group: string | undefined;
  /** True behind a timer: enqueued with a delay, or to be retried. */
  readonly delayed: boolean;
}

/** The tasks that wait in a queue, highest lane first, then those behind timers. */
export async function waitingTasks(connection: Connection, queue: string): Promise<WaitingTask[]> {
  const { names } = connection;
  const found: WaitingTask[] = [];
  for (const lane of LANES) {
    const stream = names.lane(queue, lane).stream;
    for await (const stored of messages(connection, stream, names.task(queue, lane, '*'))) found.push(describe(stored, lane, false));
  }
  for await (const stored of timers(connection, queue)) found.push(describe(stored, targetOf(stored).lane, true));
  return found;
}

/** Puts every task behind a timer into its lane now, whatever the hour; returns how many. */
export async function fireTimers(connection: Connection, queue: string): Promise<number> {
  const store = new TaskStore(connection);
  let fired = 0;
  for await (const stored of timers(connection, queue)) {
    const { lane, key } = targetOf(stored);
    // The message id of the hop keeps a timer that fires by itself meanwhile from running the task twice.
    await store.publishTask(queue, lane, key, { headers: withoutSchedule(stored), data: stored.data, hop: hopOf(stored) });
    await deleteMessage(connection, connection.names.schedules, stored.sequence);
    fired++;
  }
  return fired;
}

/** The timers of a queue that have not fired. */
export function timersOf(connection: Connection, queue: string): AsyncGenerator<StoredMessage> {
  return messages(connection, connection.names.schedules, connection.names.timer(queue, '*'));
}

async function* timers(connection: Connection, queue: string): AsyncGenerator<StoredMessage> {
  const { names } = connection;
  yield* timersOf(connection, queue);
  for (const lane of LANES) yield* messages(connection, names.schedules, names.due(queue, lane, '*'));
}

async function* messages(connection: Connection, stream: string, subject: string): AsyncGenerator<StoredMessage> {
  for (let from = 1; ; ) {
    const stored = await directGetNext(connection, stream, from, subject);
    if (!stored) return;
    yield stored;
    from = stored.sequence + 1;
  }
}

/** Where a timer leads; a timer that has fired stands on its target. */
function targetOf({ headers, subject }: StoredMessage): { readonly lane: Lane; readonly key: string } {
  const [lane, key] = (headerValue(headers, HEADER.scheduleTarget) ?? subject).split('.').slice(-2);
  return { lane: lane as Lane, key: key ?? '' };
}

const withoutSchedule = ({ headers }: StoredMessage) => headers.filter(([name]) => !/^nats-/i.test(name));

function describe({ headers, subject, data }: StoredMessage, lane: Lane, delayed: boolean): WaitingTask {
  const header = (name: string) => headerValue(headers, name);
  const contentType = header(HEADER.contentType);
  const json = contentType === undefined || /json/i.test(contentType);
  const text = json && data.length > 0 ? Buffer.from(data).toString() : undefined;
  return {
    key: subject.split('.').at(-1) ?? '',
    type: header(HEADER.type),
    data: text === undefined ? (json ? undefined : data) : (JSON.parse(text) as unknown),
    lane,
    group: header(HEADER.group),
    delayed,
  };
}
