import { type Connection, countFrom, directGetBatch, laneInfo, leaderGet, type StoredMessage } from '@jetlane/jetstream';
import { HEADER, headerValue, isLane, LANES, type Lane, parseTaskId, type QueueJob, type TaskSelection } from '@jetlane/protocol';

/** Where tasks of a queue stand: a lane, or the timers of the queue, or those of them that are due. */
export type Place = Lane | 'timers' | 'due';

/** A place of a job's plan: it is read up to a sequence. */
export interface PlannedPlace {
  readonly place: Place;
  readonly until: number;
}

/** Tasks of a place that fit, in its order. */
export interface SelectionPage {
  readonly found: readonly StoredMessage[];
  /** All up to this sequence was looked at. */
  readonly position: number;
  /** Nothing is left to look at. */
  readonly end: boolean;
}

/** What a selection is read with: type of tasks that name none. */
export interface QueueReading {
  readonly queue: string;
  readonly defaultType?: string | undefined;
}

const PAGE = 512;
const PAGE_BYTES = 4 * 1024 * 1024;
const LOOKUPS_AT_ONCE = 64;
const EVERYTHING = Number.MAX_SAFE_INTEGER;
/** A lane that comes after the timers: how far it is read is fixed when the timers are done. */
export const NOT_FIXED = -1;

/** True when the server can count what fits, without a look at each task. */
export const isCountedByServer = ({ type, group, ids, lane, scheduled }: TaskSelection): boolean =>
  type === undefined && group === undefined && ids === undefined && !(lane !== undefined && scheduled);

/** Stream and subjects of a place. */
export function whereIs(connection: Connection, queue: string, place: Place): { stream: string; subject: string } {
  const { names } = connection;
  if (place === 'timers') return { stream: names.schedules, subject: names.timer(queue, '*') };
  if (place === 'due') return { stream: names.schedules, subject: names.pattern(`due.${queue}.*.*`) };
  return { stream: names.lane(queue, place).stream, subject: names.laneSubjects(queue, place) };
}

/** The places of a selection, in the order of a task's way: what fires meanwhile is met later. */
export async function planPlaces(
  connection: Connection,
  queue: string,
  select: TaskSelection,
  before: readonly Place[],
): Promise<PlannedPlace[]> {
  const lanes = LANES.filter((lane) => select.lane === undefined || lane === select.lane);
  if (before.length === 0) return fixPlaces(connection, queue, select, lanes);
  const { streams } = await connection.admin();
  const { state } = await streams.info(connection.names.schedules);
  const scheduled = before.map((place) => ({ place, until: place === 'timers' ? state.last_seq : EVERYTHING }));
  return [...scheduled, ...lanes.map((place) => ({ place, until: NOT_FIXED }))];
}

/** Lanes up to what they hold now. */
export function fixPlaces(connection: Connection, queue: string, select: TaskSelection, lanes: readonly Lane[]): Promise<PlannedPlace[]> {
  return Promise.all(lanes.map(async (place) => ({ place, until: await lastOf(connection, queue, place, select.storedBefore) })));
}

async function lastOf(connection: Connection, queue: string, lane: Lane, storedBefore: number | undefined): Promise<number> {
  const { lastSequence } = await laneInfo(connection, queue, lane);
  if (storedBefore === undefined) return lastSequence;
  const { stream, subject } = whereIs(connection, queue, lane);
  const { messages } = await directGetBatch(connection, stream, { subject, from: { time: storedBefore }, batch: 1 });
  return Math.min(lastSequence, (messages[0]?.sequence ?? lastSequence + 1) - 1);
}

/** A page of the tasks that fit. */
export async function readSelection(
  connection: Connection,
  reading: QueueReading,
  select: TaskSelection,
  { place, until }: PlannedPlace,
  cursor: number,
): Promise<SelectionPage> {
  const fits = (message: StoredMessage) => message.sequence <= until && matches(message, reading, select, place);
  if (select.ids) return { found: (await named(connection, reading.queue, place, select.ids)).filter(fits), position: until, end: true };
  const { stream, subject } = whereIs(connection, reading.queue, place);
  const from = { sequence: cursor + 1 };
  const { messages, pending } = await directGetBatch(connection, stream, { subject, from, batch: PAGE, maxBytes: PAGE_BYTES });
  const position = messages.at(-1)?.sequence ?? cursor;
  return { found: messages.filter(fits), position, end: pending === 0 || position >= until };
}

async function named(connection: Connection, queue: string, place: Place, ids: readonly string[]): Promise<StoredMessage[]> {
  const { names } = connection;
  const { stream } = whereIs(connection, queue, place);
  const found: StoredMessage[] = [];
  for (let i = 0; i < ids.length; i += LOOKUPS_AT_ONCE) {
    const keys = ids.slice(i, i + LOOKUPS_AT_ONCE).map((id) => parseTaskId(id).key);
    const subject = (key: string) =>
      place === 'timers'
        ? names.timer(queue, key)
        : place === 'due'
          ? names.pattern(`due.${queue}.*.${key}`)
          : names.task(queue, place, key);
    const stored = await Promise.all(keys.map((key) => leaderGet(connection, stream, subject(key))));
    found.push(...stored.filter((message) => message !== undefined));
  }
  return found.sort((a, b) => a.sequence - b.sequence);
}

function matches(message: StoredMessage, { defaultType }: QueueReading, select: TaskSelection, place: Place): boolean {
  const header = (name: string) => headerValue(message.headers, name);
  if (select.storedBefore !== undefined && message.storedAt >= select.storedBefore) return false;
  if (select.type !== undefined && (header(HEADER.type) ?? defaultType) !== select.type) return false;
  if (select.group !== undefined && header(HEADER.group) !== select.group) return false;
  return select.lane === undefined || isLane(place) || laneOf(message) === select.lane;
}

/** Lane of a timer, or of a task that is due. */
function laneOf({ subject, headers }: StoredMessage): string | undefined {
  return (headerValue(headers, HEADER.scheduleTarget) ?? subject).split('.').at(-2);
}

/** How many tasks a job still has to look at. */
export async function countLeft(
  connection: Connection,
  { queue, select, plan, at, cursor, state, ...job }: QueueJob,
): Promise<QueueJob['left']> {
  if (state === 'completed') return { count: 0, exact: true };
  if (select.ids) {
    const dealt = job.done + job.held + job.skipped + job.failed;
    return { count: Math.max(0, select.ids.length - dealt), exact: false };
  }
  const counts = (plan as readonly PlannedPlace[]).slice(at).map(async ({ place, until }, i) => {
    const { stream, subject } = whereIs(connection, queue, place);
    const from = i === 0 ? cursor + 1 : 1;
    const behind = until === EVERYTHING || until === NOT_FIXED ? 0 : await countFrom(connection, stream, subject, until + 1);
    return Math.max(0, (await countFrom(connection, stream, subject, from)) - behind);
  });
  return { count: (await Promise.all(counts)).reduce((sum, count) => sum + count, 0), exact: isCountedByServer(select) };
}
