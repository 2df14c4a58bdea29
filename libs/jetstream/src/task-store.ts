import {
  decodeRecord,
  encodeHeaders,
  formatTaskId,
  HEADER,
  type HeaderPair,
  headerValue,
  hopId,
  isFinal,
  JetlaneError,
  LANES,
  type Lane,
  type StateRecord,
  stripServerHeaders,
  WrongSequenceError,
  withHeaders,
} from '@jetlane/protocol';
import type { Connection } from './connection.js';
import { deadLane } from './dead-lane.js';
import type { Payload } from './outbox.js';
import type { PubAck } from './publication.js';
import { deleteSubject, directGet, leaderGet, type StoredMessage } from './stored.js';

/** Reads the last message of a subject: `directGet` from any replica, `leaderGet` from the leader. */
export type Reader = (connection: Connection, stream: string, subject: string) => Promise<StoredMessage | undefined>;

/** Where a copy of a task was found. */
export interface TaskCopy {
  readonly place: 'lane' | 'timer' | 'due' | 'dead';
  /** Of a task in a lane, or of a dead letter. */
  readonly lane?: Lane | undefined;
  readonly hop: number;
  readonly stored: StoredMessage;
}

/** All that the streams hold about a task. */
export interface TaskTraces {
  readonly record?: StateRecord;
  readonly recordSequence: number;
  readonly copies: readonly TaskCopy[];
}

/** Reads and writes the streams of one installation, task by task. Stateless; the connection is all it knows. */
export class TaskStore {
  constructor(private readonly connection: Connection) {}

  /** The task's record and its sequence (0: none). */
  async record(queue: string, key: string, read: Reader = directGet): Promise<{ record?: StateRecord; sequence: number }> {
    const { names } = this.connection;
    const stored = await read(this.connection, names.taskStates, names.state(queue, key));
    const record = stored && decodeRecord(stored.data);
    return { ...(record ? { record } : {}), sequence: stored?.sequence ?? 0 };
  }

  /**
   * Writes a record.
   * @param expectedSequence compare-and-set: the sequence that the record must have now (0: none)
   * @throws WrongSequenceError when somebody else was first
   */
  writeRecord(queue: string, key: string, record: StateRecord, ttlMs: number, expectedSequence?: number): Promise<PubAck> {
    const { names } = this.connection;
    const headers: HeaderPair[] = [[HEADER.ttl, `${Math.max(1, Math.ceil(ttlMs / 1000))}s`]];
    if (expectedSequence !== undefined) headers.push([HEADER.expectedSubjectSequence, String(expectedSequence)]);
    return this.connection.publish(names.state(queue, key), Buffer.from(JSON.stringify(record)), encodeHeaders(headers));
  }

  /** Everything that the streams hold about a task, asked for at once. */
  async traces(queue: string, key: string, read: Reader = directGet): Promise<TaskTraces> {
    const { connection } = this;
    const { names } = connection;
    const lanes = LANES.map((lane) => read(connection, names.lane(queue, lane).stream, names.task(queue, lane, key)));
    const timer = read(connection, names.schedules, names.timer(queue, key));
    const due = read(connection, names.schedules, names.pattern(`due.${queue}.*.${key}`));
    const dead = read(connection, names.deadLetters, names.dead(queue, key));
    const [{ record, sequence }, ...stored] = await Promise.all([this.record(queue, key, read), ...lanes, timer, due, dead]);
    const letter = stored.at(-1);
    const places: Pick<TaskCopy, 'place' | 'lane'>[] = [
      ...LANES.map((lane) => ({ place: 'lane' as const, lane })),
      { place: 'timer' },
      { place: 'due' },
      { place: 'dead', lane: letter && deadLane(names, letter.headers) },
    ];
    const copies = places.flatMap((place, i) => (stored[i] ? [{ ...place, hop: hopOf(stored[i]), stored: stored[i] }] : []));
    return { ...(record ? { record } : {}), recordSequence: sequence, copies };
  }

  /** Removes every live copy: the timer, what is due, and then from the lanes. Records and dead letters stay. */
  async removeCopies(queue: string, key: string): Promise<void> {
    const { connection } = this;
    const { names } = connection;
    // The order of the way: what moves on meanwhile is met at its next place.
    await deleteSubject(connection, names.schedules, names.timer(queue, key));
    await Promise.all(LANES.map((lane) => deleteSubject(connection, names.schedules, names.due(queue, lane, key))));
    await Promise.all(LANES.map((lane) => deleteSubject(connection, names.lane(queue, lane).stream, names.task(queue, lane, key))));
  }

  /**
   * Sets the timer that will put a task back into its lane. It replaces only a timer of a lower hop.
   * @returns false when a timer of this hop or a higher one stands already
   */
  async setTimer(task: TimerRequest): Promise<boolean> {
    const { names } = this.connection;
    const subject = names.timer(task.queue, task.key);
    const timer = { ...task, at: await this.connection.clock.toServer(task.at) };
    for (let expected = 0, tries = 0; ; tries++) {
      try {
        await this.connection.publish(
          subject,
          task.data,
          encodeHeaders(timerHeaders(names.due(task.queue, task.lane, task.key), timer, expected)),
          task.stillWanted,
        );
        return true;
      } catch (error) {
        if (!(error instanceof WrongSequenceError) || tries > 5) throw error;
        const standing = await leaderGet(this.connection, names.schedules, subject);
        if (standing && hopOf(standing) >= task.hop) return false;
        expected = standing?.sequence ?? 0;
      }
    }
  }

  /** Puts a task into its lane under the message id of its hop. */
  publishTask(
    queue: string,
    lane: Lane,
    key: string,
    task: { headers: readonly HeaderPair[]; data: Payload; hop: number; stillWanted?: () => boolean },
  ): Promise<PubAck> {
    const headers: HeaderPair[] = [
      [HEADER.msgId, hopId(key, task.hop)],
      ...withHeaders(stripServerHeaders(task.headers), { [HEADER.hop]: task.hop }),
    ];
    return this.connection.publish(this.connection.names.task(queue, lane, key), task.data, encodeHeaders(headers), task.stillWanted);
  }

  /**
   * Stores a dead letter: payload and headers as they were, plus `extra`. One per task; a later death replaces an earlier one.
   * What does not fit beside the payload gives way: first the history, then whatever is not Jetlane's own.
   */
  async publishDead(queue: string, key: string, letter: DeadLetter): Promise<PubAck> {
    const headers = withHeaders(stripServerHeaders(letter.headers), { [HEADER.hop]: letter.hop, ...letter.extra });
    const forms = [() => headers, () => withoutHistory(headers), () => essentials(headers)];
    for (const form of forms) {
      try {
        return await this.storeDead(queue, key, letter, form());
      } catch (error) {
        if (form === forms.at(-1) || !(error instanceof JetlaneError) || error.code !== 'payload-too-large') throw error;
      }
    }
    throw new JetlaneError('internal', `no form of the dead letter of "${formatTaskId(queue, key)}" was tried`);
  }

  private async storeDead(queue: string, key: string, letter: DeadLetter, headers: readonly HeaderPair[]): Promise<PubAck> {
    const subject = this.connection.names.dead(queue, key);
    // One stream holds the letters of all queues: without the queue, equal keys of two queues would swallow each other.
    const id: HeaderPair = [HEADER.msgId, hopId(formatTaskId(queue, key), letter.hop)];
    const ack = await this.connection.publish(subject, letter.data, encodeHeaders([id, ...headers]), letter.stillWanted);
    if (!ack.duplicate || (await this.stands(queue, key, letter.hop))) return ack;
    return this.connection.publish(subject, letter.data, encodeHeaders(headers), letter.stillWanted);
  }

  /** A remembered message id says that there was a letter, not that there is one: it, or a record of this hop or a higher one, must be seen. */
  private async stands(queue: string, key: string, hop: number): Promise<boolean> {
    const { names } = this.connection;
    const [letter, { record }] = await Promise.all([
      leaderGet(this.connection, names.deadLetters, names.dead(queue, key)),
      this.record(queue, key, leaderGet),
    ]);
    return (letter !== undefined && hopOf(letter) >= hop) || (record !== undefined && record.hop >= hop && isFinal(record.state));
  }
}

/** What a dead letter is made from. */
export interface DeadLetter {
  readonly headers: readonly HeaderPair[];
  readonly data: Payload;
  readonly hop: number;
  /** Reason, error, time, source and history; see {@link HEADER}. */
  readonly extra: Readonly<Record<string, string | number | undefined>>;
  /** See {@link Publication.stillWanted}; so in what follows. */
  readonly stillWanted?: () => boolean;
}

const LONGEST_ESSENTIAL = 1000;
const OWN_NAMES: ReadonlySet<string> = new Set(Object.values(HEADER));

/** Without the attempts; of the error only its name stays. */
function withoutHistory(headers: readonly HeaderPair[]): HeaderPair[] {
  return headers.flatMap(([name, value]): HeaderPair[] => {
    if (name === HEADER.errors) return [];
    return [name === HEADER.deadError ? [name, nameOnly(value)] : [name, value]];
  });
}

function nameOnly(error: string): string {
  const name = /"name":"([\w.]{1,80})"/.exec(error)?.[1] ?? 'Error';
  return `{"name":"${name}","message":""}`;
}

const essentials = (headers: readonly HeaderPair[]): HeaderPair[] =>
  withoutHistory(headers).filter(([name, value]) => OWN_NAMES.has(name) && value.length <= LONGEST_ESSENTIAL);

/** A timer to set. */
export interface TimerRequest {
  readonly queue: string;
  readonly lane: Lane;
  readonly key: string;
  /** When it fires, ms since 1970. */
  readonly at: number;
  /** Hop and attempt of the publication that it will make. */
  readonly hop: number;
  readonly attempt: number;
  readonly headers: readonly HeaderPair[];
  readonly data: Payload;
  readonly stillWanted?: () => boolean;
}

function timerHeaders(target: string, task: TimerRequest, expected: number): HeaderPair[] {
  return [
    // No message id: the expected sequence already makes a repeat harmless, and a remembered id would cost memory per timer.
    [HEADER.expectedSubjectSequence, String(expected)],
    [HEADER.schedule, `@at ${new Date(task.at).toISOString()}`],
    [HEADER.scheduleTarget, target],
    ...withHeaders(stripServerHeaders(task.headers), { [HEADER.hop]: task.hop, [HEADER.attempt]: task.attempt }),
  ];
}

/** The hop that a stored message's headers tell; 1 when they do not. */
export function hopOf(stored: StoredMessage): number {
  const hop = Number(headerValue(stored.headers, HEADER.hop));
  return Number.isSafeInteger(hop) && hop > 0 ? hop : 1;
}
