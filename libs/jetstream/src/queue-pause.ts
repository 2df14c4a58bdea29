import { LANES, type Lane } from '@jetlane/protocol';
import type { Connection } from './connection.js';
import { apiCode } from './ensure.js';
import { JsonBucket } from './json-bucket.js';
import { pausedUntil } from './lane-list.js';
import { leaderGet } from './stored.js';

/** What operators want of a queue: an entry of the bucket `pauses`, by the queue's name. */
export interface PauseEntry {
  readonly paused: boolean;
  /** When the pause ends by itself, ms since 1970 by the server's clock, a whole second; missing: when somebody resumes the queue. */
  readonly until?: number;
  /** When it was asked for, ms since 1970. */
  readonly at: number;
  readonly by?: string;
  readonly reason?: string;
}

const GONE: readonly number[] = [10014, 10059];
/** The server pauses up to a date, so this one stands for "until it is resumed". */
const FOREVER_MS = Date.UTC(2200, 0);
/**
 * Up to this date a lane is paused that is made anew with another storage: it stands for "until it was moved". Nobody but its mover ends it:
 * who worked off a lane of which a copy exists would have its tasks run twice.
 */
export const MOVING_MS = Date.UTC(2201, 0);

/** The bucket of what operators want paused. */
export const openPauses = (connection: Connection): Promise<JsonBucket<PauseEntry>> =>
  JsonBucket.open<PauseEntry>(connection, connection.names.bucket('pauses'), 1);

/** The entry of a queue and its revision (0: none), from the leader. One request. */
export async function readPause(connection: Connection, queue: string): Promise<{ entry?: PauseEntry; revision: number }> {
  const bucket = connection.names.bucket('pauses');
  // A bucket that does not exist yet answers as one without this key.
  const stored = await leaderGet(connection, `KV_${bucket}`, `$KV.${bucket}.${queue}`);
  if (!stored || stored.data.length === 0) return { revision: stored?.sequence ?? 0 };
  return { entry: JSON.parse(Buffer.from(stored.data).toString()) as PauseEntry, revision: stored.sequence };
}

/** A definition that says `paused` stands above what was asked for by command: its word becomes the entry. */
export async function pauseByDefinition(connection: Connection, queue: string, paused: boolean): Promise<void> {
  const { entry } = await readPause(connection, queue);
  if ((entry?.paused ?? false) === paused) return;
  const at = Math.round(await connection.clock.toServer(Date.now()));
  await (await openPauses(connection)).put(queue, { paused, at, by: 'definition' });
}

/** Up to when consumers must be paused because of an entry, ms since 1970; undefined: they must not be. */
export async function pauseEnd(connection: Connection, entry: PauseEntry | undefined): Promise<number | undefined> {
  if (!entry?.paused) return undefined;
  const end = entry.until ?? FOREVER_MS;
  return end > (await connection.clock.toServer(Date.now())) ? end : undefined;
}

/** `pause_until` as the server takes it. */
export const pauseDate = (ms: number): string => new Date(ms).toISOString().replace('.000Z', 'Z');

/**
 * Makes the consumers of a queue be paused, or not, as its entry says. Whoever changed a consumer because of an entry looks at the
 * entry again, so of two that act at once the one that knows the newer entry, or its look, comes last.
 * @param force also without an entry: after a lane was held for a moment
 * @returns lanes that were found otherwise
 */
export async function enforcePause(connection: Connection, queue: string, lanes: readonly Lane[] = LANES, force = false): Promise<Lane[]> {
  const changed = new Set<Lane>();
  for (let seen = -1; ; ) {
    const { entry, revision } = await readPause(connection, queue);
    if (revision === seen || (!entry && !force)) return [...changed];
    seen = revision;
    const end = await pauseEnd(connection, entry);
    await Promise.all(lanes.map(async (lane) => (await applyPause(connection, queue, lane, end)) && changed.add(lane)));
  }
}

/** How the lanes were before they were held for a move. */
export interface BeforeMove {
  /** When the move began, ms since 1970 by the server's clock. */
  readonly at: number;
  /** Up to when they were paused, by whomever, ms since 1970; undefined: they were not. */
  readonly until: number | undefined;
}

/**
 * Ends the pause of a move: in one step the lanes are paused as they were before, or as an operator has wanted since; they are never
 * resumed first. Tests: lane-move-worker.spec "paused by", "what an operator wants".
 */
export async function releaseMoved(connection: Connection, queue: string, lanes: readonly Lane[], before: BeforeMove): Promise<void> {
  for (let seen = -1; ; ) {
    const { entry, revision } = await readPause(connection, queue);
    if (revision === seen) return;
    seen = revision;
    const now = await connection.clock.toServer(Date.now());
    const asBefore = before.until !== undefined && before.until > now ? before.until : undefined;
    const end = entry && (entry.paused || entry.at >= before.at) ? await pauseEnd(connection, entry) : asBefore;
    await Promise.all(lanes.map((lane) => applyPause(connection, queue, lane, end, true)));
  }
}

/**
 * @param mover also a lane that is being moved
 * @returns false when it was so already, or the lane is not there
 */
async function applyPause(connection: Connection, queue: string, lane: Lane, end: number | undefined, mover = false): Promise<boolean> {
  const { consumers } = await connection.admin();
  const { stream, consumer } = connection.names.lane(queue, lane);
  try {
    const is = pausedUntil(await consumers.info(stream, consumer));
    if (is === end || (is === MOVING_MS && !mover)) return false;
    await (end === undefined ? consumers.resume(stream, consumer) : consumers.pause(stream, consumer, new Date(end)));
    return true;
  } catch (error) {
    // Whoever makes it anew reads the entry.
    if (GONE.includes(apiCode(error))) return false;
    throw error;
  }
}

/**
 * Pauses one lane for some ms, whatever its entry says; {@link enforcePause} ends it, or the server when the time is up.
 * @returns when it ends by itself, ms since 1970 by the server's clock
 */
export async function holdLane(connection: Connection, queue: string, lane: Lane, ms: number): Promise<number> {
  const { consumers } = await connection.admin();
  const { stream, consumer } = connection.names.lane(queue, lane);
  const until = await connection.clock.toServer(Date.now() + ms);
  await consumers.pause(stream, consumer, new Date(until));
  return until;
}
