import {
  briefHistory,
  HEADER,
  type HeaderPair,
  headerValue,
  isFinal,
  JetlaneError,
  type Lane,
  type Names,
  type StateRecord,
  type TaskId,
  WrongSequenceError,
  withHeaders,
} from '@jetlane/protocol';
import type { Connection } from './connection.js';
import { viewDeadLetter } from './dead-letter-view.js';
import type { Payload } from './outbox.js';
import { deleteMessage, leaderGet, type StoredMessage } from './stored.js';
import { type TaskCopy, TaskStore, type TaskTraces } from './task-store.js';

/** How a redriven task differs from its dead letter. */
export interface RedriveChange {
  /** Default: the lane that it came from. */
  readonly lane?: Lane | undefined;
  readonly payload?: { readonly data: Payload; readonly contentType: string | undefined } | undefined;
}

/** `moved`: the task is in its lane. `duplicate`: it was there before, only the dead letter was removed. `gone`: there is none. */
export interface Redriven {
  readonly fate: 'moved' | 'duplicate' | 'gone';
  readonly hop: number;
  readonly lane: Lane;
  /** Headers of the dead letter. */
  readonly headers: readonly HeaderPair[];
}

/** Moves dead letters out of their stream: back to a lane, or away. Any number of movers may work at once. */
export class DeadLetterMover {
  private readonly store: TaskStore;

  constructor(private readonly connection: Connection) {
    this.store = new TaskStore(connection);
  }

  /** The dead letter of a task, from the stream's leader. @throws JetlaneError `invalid-argument` for what cannot be an id */
  async find(id: string): Promise<StoredMessage | undefined> {
    if (id.length > LONGEST_ID || !ID.test(id)) throw wrongId(id);
    return leaderGet(this.connection, this.connection.names.deadLetters, this.connection.names.pattern(`dead.${id}`));
  }

  /**
   * Sends a dead letter back to a lane under the next hop, with its attempts reset and its history kept.
   *
   * Order: the message it was made from is removed if it still stands, publish, PubAck, delete by sequence. Crash before the
   * publish: the letter stands. Between publish and delete: the letter stands beside a task of a higher hop; whoever comes
   * next finds that task, or its record, and only deletes. After the delete: done. The delete goes by sequence, so a later
   * death of the same task, which replaced the letter, stays. Tests: dead-letter-crash.spec "redrive".
   * @param sequence only this dead letter, not a later one of the same task
   * @throws QueueFullError, JetlaneError `payload-too-large`, `no-responders`, `publish-timeout`: the letter stays
   */
  async redrive(id: string, change: RedriveChange = {}, sequence?: number): Promise<Redriven> {
    const { queue, key } = taskOf(id);
    const traces = await this.store.traces(queue, key, leaderGet);
    const letter = letterIn(traces, sequence);
    if (!letter) return { fate: 'gone', hop: 0, lane: change.lane ?? 'normal', headers: [] };
    const hop = letter.hop + 1;
    const lane = change.lane ?? viewDeadLetter(this.connection.names, letter.stored).lane;
    const before = livesOn(traces, hop) || !(await this.publish(id, letter, lane, change.payload, traces));
    await deleteMessage(this.connection, this.connection.names.deadLetters, letter.stored.sequence);
    return { fate: before ? 'duplicate' : 'moved', hop, lane, headers: letter.stored.headers };
  }

  /** @returns false when somebody else was first */
  private async publish(id: string, letter: TaskCopy, lane: Lane, payload: RedriveChange['payload'], traces: TaskTraces): Promise<boolean> {
    const { queue, key } = taskOf(id);
    await this.removeSource(letter, traces);
    const hop = letter.hop + 1;
    const headers = livingHeaders(letter.stored.headers, payload);
    const ack = await this.store.publishTask(queue, lane, key, { headers, data: payload?.data ?? letter.stored.data, hop });
    if (!ack.duplicate) return true;
    // The server remembers the id: believed only on sight of the task, of what became of it, or of a removed letter.
    const now = await this.store.traces(queue, key, leaderGet);
    if (livesOn(now, hop) || !letterIn(now, letter.stored.sequence)) return false;
    throw new JetlaneError('publish-timeout', `task "${id}" was sent back a moment ago and cannot be seen; try again in a minute`, {
      details: { id },
    });
  }

  /**
   * Who made the letter may have died before it removed the message that it was made from. The letter stands, so that message
   * is finished with; left behind, it could become a second letter once the task of the next hop has left no trace.
   */
  private async removeSource({ stored, hop }: TaskCopy, { copies }: TaskTraces): Promise<void> {
    const source = headerValue(stored.headers, HEADER.deadSource);
    const orphan = copies.find((copy) => copy.place === 'lane' && copy.hop <= hop && sourceOf(this.connection.names, copy) === source);
    if (orphan) await deleteMessage(this.connection, source!.slice(0, source!.lastIndexOf(':')), orphan.stored.sequence);
  }

  /**
   * Throws a dead letter away. What the task's status says afterwards is its record: still `dead`, with the time of the
   * discard. A record of a higher hop, or of another end of the same hop, stays as it is.
   *
   * Crash before the record: nothing happened. Between record and delete: the letter stands and is listed; a repetition goes
   * on with the delete. After the delete: done. The record comes first since a mover that meets the message the letter was
   * made from must see that its hop is over. Tests: dead-letter-crash.spec "discard".
   * @param keepMs how long the record is kept
   */
  async discard(id: string, keepMs: number, sequence?: number): Promise<'discarded' | 'gone'> {
    const stored = await this.find(id);
    if (!stored || (sequence !== undefined && stored.sequence !== sequence)) return 'gone';
    // A stranger's message that names no task has no record either.
    if (TASK.test(id)) await this.recordDiscard(id, stored, keepMs);
    await deleteMessage(this.connection, this.connection.names.deadLetters, stored.sequence);
    return 'discarded';
  }

  private async recordDiscard(id: string, stored: StoredMessage, keepMs: number): Promise<void> {
    const { queue, key } = taskOf(id);
    const letter = viewDeadLetter(this.connection.names, stored);
    for (;;) {
      const { record, sequence } = await this.store.record(queue, key, leaderGet);
      if (record && (record.hop > letter.hop || (record.hop === letter.hop && isFinal(record.state) && record.state !== 'dead'))) return;
      try {
        await this.store.writeRecord(queue, key, discardedRecord(stored, letter, record), keepMs, sequence);
        return;
      } catch (error) {
        if (!(error instanceof WrongSequenceError)) throw error;
      }
    }
  }
}

/** Strangers may have used keys, and subjects, that the API would not take: what became a dead letter can be dealt with all the same. */
const ID = /^[^\s.*>]+(\.[^\s.*>]+)*$/;
const TASK = /^[^\s.*>]+\.[^\s.*>]+$/;
const LONGEST_ID = 300;

function taskOf(id: string): TaskId {
  if (id.length > LONGEST_ID || !TASK.test(id)) throw wrongId(id);
  const dot = id.indexOf('.');
  return { queue: id.slice(0, dot), key: id.slice(dot + 1) };
}

const wrongId = (id: string): JetlaneError =>
  new JetlaneError('invalid-argument', `expected a task id of the form <queue>.<key>, got ${JSON.stringify(id.slice(0, 200))}`, {
    details: { field: 'task_id' },
  });

const letterIn = ({ copies }: TaskTraces, sequence?: number): TaskCopy | undefined =>
  copies.find(({ place, stored }) => place === 'dead' && (sequence === undefined || stored.sequence === sequence));

/** The hop was published: there is a copy of it or of a higher one, or a record. */
const livesOn = ({ copies, record }: TaskTraces, hop: number): boolean =>
  copies.some((copy) => copy.hop >= hop) || (record?.hop ?? 0) >= hop;

function sourceOf(names: Names, { lane, stored }: TaskCopy): string | undefined {
  const [queue] = names.tokens(stored.subject);
  return lane && queue ? `${names.lane(queue, lane).stream}:${stored.sequence}` : undefined;
}

const DEATH = new Set<string>([
  HEADER.deadReason,
  HEADER.deadError,
  HEADER.deadAt,
  HEADER.deadSource,
  HEADER.deadLane,
  HEADER.fingerprint,
  HEADER.attempt,
]);

/** The headers of a task that lives again: no word of its death but the history, the first attempt, and no deadline that is over. */
function livingHeaders(headers: readonly HeaderPair[], payload: RedriveChange['payload']): HeaderPair[] {
  const kept = headers.filter(([name, value]) => !DEATH.has(name) && !(name === HEADER.deadline && Number(value) <= Date.now()));
  return payload ? withHeaders(kept, { [HEADER.contentType]: payload.contentType }) : kept;
}

function discardedRecord(stored: StoredMessage, letter: ReturnType<typeof viewDeadLetter>, record: StateRecord | undefined): StateRecord {
  const header = (name: string) => headerValue(stored.headers, name);
  const { id, hop, lane, type, group, attempt, error, reason, deadAt } = letter;
  const created = Number(header(HEADER.createdAt)) || undefined;
  const known = record?.hop === hop && record.state === 'dead' ? record : undefined;
  return {
    ...known,
    ...{ id, hop, lane, type, group, state: 'dead', attempt, error, reason },
    history: briefHistory(header(HEADER.errors)),
    at: { ...(known?.at ?? { created, finished: deadAt }), discarded: Date.now() },
    hash: header(HEADER.hash) ?? record?.hash,
    trace: header(HEADER.traceparent)?.split('-')[1],
  } as StateRecord;
}
