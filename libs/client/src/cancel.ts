import {
  type Connection,
  hopOf,
  inHand,
  leaderGet,
  mayBeInHand,
  type StoredMessage,
  sureGet,
  type TaskCopy,
  type TaskStore,
} from '@jetlane/jetstream';
import {
  type CancelReply,
  formatTaskId,
  HEADER,
  headerValue,
  isFinal,
  JetlaneError,
  keptPayload,
  LANE_DEFAULTS,
  LANES,
  type Lane,
  type QueueDefinition,
  REASON_LIMIT,
  type StateRecord,
  type TaskCancelNotice,
  type TaskId,
  toMs,
  WrongSequenceError,
} from '@jetlane/protocol';

/**
 * `cancelled`: it does not run, and will not. `requested`: a worker may be running it; its signal fires, and how it ends is for
 * its handler. `too-late`: it is completed or dead. A handler that has ended when its worker hears of it has ended: what it wrote holds.
 */
export type CancelAnswer = 'cancelled' | 'requested' | 'too-late';

/** What is written into the record of a cancelled task. */
export interface CancelOrder {
  readonly reason: string;
  /** How long the record is kept, ms. */
  readonly keepMs: number;
  /** The record keeps the payload. */
  readonly keepPayload?: boolean | undefined;
}

/** What stands about a task before it is cancelled: the hop that is cancelled and its live copies. */
interface Target {
  readonly id: TaskId;
  readonly hop: number;
  readonly live: readonly TaskCopy[];
  /** It was cancelled before: only what was left undone is done. */
  readonly again: boolean;
}

/** How long a worker may take to say that it holds the task. */
const REPLY_MS = 500;
/** How long the scheduler may take to finish with a due task that it has in hand. */
const DUE_MS = 1000;
const POLL_MS = 25;

/** What a queue wants to be written about a cancelled task. */
export function cancelOrder({ keepFailures, keepRecords, keepPayload }: QueueDefinition, reason = 'cancelled'): CancelOrder {
  const age = keepFailures ?? keepRecords;
  const keepMs = age === undefined ? LANE_DEFAULTS.keepRecordsMs : toMs(age);
  return { reason: (reason || 'cancelled').slice(0, REASON_LIMIT), keepMs, keepPayload };
}

/**
 * Cancels one task: record, notice, purge, in this order.
 * Crash before the record: nothing happened. After it: status and result() say cancelled; a retry, a redelivery and a due task
 * find it, but a task that waits in a lane still runs when it is delivered for the first time. After the notice: whoever holds it
 * has ended it, a copy in a lane is remembered by its workers for a minute. In each case calling again does the rest.
 * Tests: cancel.spec "by a canceller that dies".
 */
export async function cancelTask(connection: Connection, store: TaskStore, id: TaskId, order: CancelOrder): Promise<CancelAnswer> {
  const target = await writeCancelled(store, id, order);
  if (target === 'too-late') return target;
  const told = tell(connection, target, order.reason);
  // Read behind the notice, and before the purge, which moves it: a later delivery meets a worker that knows.
  const held = await mayBeHeld(connection, target);
  const wasDue = target.live.some(({ place }) => place === 'due');
  if (wasDue) await dueTaken(connection, id);
  await store.removeCopies(id.queue, id.key);
  if (target.again) return (await told)?.running ? 'requested' : 'cancelled';
  const reply = held ? await told : undefined;
  if (reply?.ended) await outcomeWritten(store, id);
  if (held && reply?.running !== 0) return outcomeSoFar(store, id, 'requested');
  return wasDue ? outcomeSoFar(store, id, 'cancelled') : 'cancelled';
}

/**
 * The handler had ended when its worker heard: the record that is on its way replaces ours, unless the task has a key of its producer's. Then the
 * worker compares, and ours stays. A compare-and-set for every record would close that gap, but what is sent again after a lost PubAck would
 * fail at its own first copy, and be looked up. Test: cancel-race.spec.
 */
async function outcomeWritten(store: TaskStore, { queue, key }: TaskId): Promise<void> {
  for (const end = performance.now() + REPLY_MS; performance.now() < end; ) {
    const { record } = await store.record(queue, key, leaderGet);
    if (record?.state !== 'cancelled') return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** A worker may have been quicker than its notice. */
async function outcomeSoFar(store: TaskStore, { queue, key }: TaskId, answer: CancelAnswer): Promise<CancelAnswer> {
  const { record } = await store.record(queue, key, leaderGet);
  return record && isFinal(record.state) && record.state !== 'cancelled' ? 'too-late' : answer;
}

/** @throws JetlaneError `task-not-found`; `no-responders`, to be tried again, when a lane is missing */
async function writeCancelled(store: TaskStore, id: TaskId, order: CancelOrder): Promise<Target | 'too-late'> {
  for (let looks = 1; ; looks++) {
    // Before it says that there is none, no lane may be missing: its tasks may be back with it.
    const { record, recordSequence, copies } = await store.traces(id.queue, id.key, looks === 1 ? leaderGet : sureGet);
    const live = copies.filter(({ place }) => place !== 'dead');
    const hop = Math.max(0, record?.hop ?? 0, ...live.map((copy) => copy.hop));
    const over = (record && isFinal(record.state) && record.hop === hop) || copies.some((copy) => copy.place === 'dead' && copy.hop >= hop);
    if (over) return record?.state === 'cancelled' ? { id, hop, live, again: true } : 'too-late';
    // A copy on its way from one place to the next may escape one look.
    if (live.length === 0 && record?.state !== 'accepted' && looks === 1) continue;
    if (live.length === 0 && record?.state !== 'accepted') return gone(id, record);
    try {
      const written = cancelledRecord(id, hop, order, record, live.find((copy) => copy.hop === hop)?.stored);
      await store.writeRecord(id.queue, id.key, written, order.keepMs, recordSequence);
      return { id, hop, live, again: false };
    } catch (error) {
      if (!(error instanceof WrongSequenceError)) throw error;
    }
  }
}

/** Settled without a final record, or never there. */
function gone({ queue, key }: TaskId, record: StateRecord | undefined): 'too-late' {
  if (record) return 'too-late';
  const id = formatTaskId(queue, key);
  throw new JetlaneError('task-not-found', `task "${id}" is not known; it was never enqueued, or its record has expired`, {
    details: { id },
  });
}

/**
 * Writes the record of a cancelled task whose message was read, and nothing else.
 * @returns false when its hop is over for another reason: whoever settled it removes the message
 */
export async function recordCancelled(store: TaskStore, id: TaskId, message: StoredMessage, order: CancelOrder): Promise<boolean> {
  const hop = hopOf(message);
  // Mostly there is none at the first hop of a task without an idempotency key: the write tells if there is.
  const likelyNone = hop === 1 && headerValue(message.headers, HEADER.hash) === undefined;
  for (let known: KnownRecord = likelyNone ? { sequence: 0 } : await store.record(id.queue, id.key, leaderGet); ; ) {
    const { record, sequence } = known;
    if (record && (record.hop > hop || (record.hop === hop && isFinal(record.state)))) return record.state === 'cancelled';
    try {
      await store.writeRecord(id.queue, id.key, cancelledRecord(id, hop, order, record, message), order.keepMs, sequence);
      return true;
    } catch (error) {
      if (!(error instanceof WrongSequenceError)) throw error;
      known = await store.record(id.queue, id.key, leaderGet);
    }
  }
}

type KnownRecord = Awaited<ReturnType<TaskStore['record']>>;

/** Carries on what an idempotency key needs: the hash. */
export function cancelledRecord(
  { queue, key }: TaskId,
  hop: number,
  { reason, keepPayload }: Pick<CancelOrder, 'reason' | 'keepPayload'>,
  before: StateRecord | undefined,
  stored: StoredMessage | undefined,
): StateRecord {
  const header = (name: string) => (stored ? headerValue(stored.headers, name) : undefined);
  const lane = (stored && laneOf(stored)) ?? before?.lane;
  const created = Number(header(HEADER.createdAt)) || before?.at.created;
  const payload = stored && keepPayload ? keptPayload(stored.data, header(HEADER.contentType)) : undefined;
  return {
    id: formatTaskId(queue, key),
    hop,
    ...optional({ lane, type: header(HEADER.type) ?? before?.type, group: header(HEADER.group) ?? before?.group }),
    state: 'cancelled',
    attempt: Number(header(HEADER.attempt)) || before?.attempt || 1,
    at: { ...optional({ created }), ...(stored ? { stored: stored.storedAt } : {}), finished: Date.now() },
    reason,
    ...optional({ hash: header(HEADER.hash) ?? before?.hash, trace: header(HEADER.traceparent)?.split('-')[1], payload }),
  };
}

function laneOf({ subject, headers }: StoredMessage): Lane | undefined {
  const last = (text: string | undefined) => text?.split('.').at(-2);
  return LANES.find((lane) => lane === last(subject) || lane === last(headerValue(headers, HEADER.scheduleTarget)));
}

/** Without the fields that are undefined. */
function optional<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: NonNullable<T[K]> };
}

/** Resolves with what a worker says that holds it; undefined when none does, or none answers. */
async function tell(connection: Connection, { id, hop }: Target, reason: string): Promise<CancelReply | undefined> {
  const notice: TaskCancelNotice = { reason, key: id.key, hop };
  try {
    const { data } = await connection.request(connection.names.cancels(id.queue), JSON.stringify(notice), REPLY_MS);
    return JSON.parse(Buffer.from(data).toString()) as CancelReply;
  } catch {
    return undefined;
  }
}

/**
 * Gives the scheduler time to drop a due task: its next look finds the record. One that it had looked at before goes into its lane
 * first, to be purged there.
 */
async function dueTaken(connection: Connection, { queue, key }: TaskId): Promise<void> {
  const { names } = connection;
  for (const end = performance.now() + DUE_MS; performance.now() < end; ) {
    if (!(await leaderGet(connection, names.schedules, names.pattern(`due.${queue}.*.${key}`)))) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Lanes hand out in order: what is behind the last delivered message is in nobody's hand, if the lane knows of all that it handed out. */
async function mayBeHeld(connection: Connection, { id, live }: Target): Promise<boolean> {
  for (const { place, lane, stored } of live) {
    if (place === 'lane' && mayBeInHand(stored, await inHand(connection, id.queue, lane!))) return true;
  }
  return false;
}
