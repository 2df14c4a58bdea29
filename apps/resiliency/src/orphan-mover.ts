import {
  type Connection,
  deathHeaders,
  deleteMessage,
  isOver,
  leaderGet,
  leaderGetSequence,
  type StoredMessage,
  TaskStore,
  type TaskTraces,
} from '@jetlane/jetstream';
import {
  type ErrorRecord,
  encodeHeaders,
  HEADER,
  isFinal,
  isLane,
  type Lane,
  NO_TASK_HEADERS,
  parseTaskHeaders,
  type StateRecord,
  type TaskHeaders,
  WrongSequenceError,
} from '@jetlane/protocol';
import { noteStep, type TaskStep } from '@jetlane/telemetry';

export const DELIVERIES_EXHAUSTED = 'deliveries-exhausted';

/**
 * What became of an orphan. `moved`: its dead letter is ours. `known`: a dead letter of this hop stood already.
 * `over`: the task went on or was settled elsewhere, only the orphan was removed. `gone`: nothing there.
 */
export type OrphanFate = 'moved' | 'known' | 'over' | 'gone';

/** A message of a lane that the server will never hand out again. */
export interface Orphan {
  readonly stream: string;
  readonly sequence: number;
}

export interface OrphanMoverOptions {
  /** How long the record of a dead task of this queue is kept, in ms. */
  readonly keepMs: (queue: string) => number;
  /** Told of every dead letter that this mover stored. */
  readonly onDead?: (queue: string, reason: string) => void;
}

interface Lost {
  readonly orphan: Orphan;
  readonly queue: string;
  readonly lane: Lane;
  readonly key: string;
  readonly message: StoredMessage;
  readonly headers: TaskHeaders;
}

/**
 * Turns an orphan into a dead letter, exactly one, however many movers meet and wherever one dies. Order: dead letter
 * (it holds the payload), record, delete. Every step looks before it writes, so a repetition goes on where the last one
 * stopped. Crash before the dead letter: nothing happened. After the dead letter: the next mover finds it (or the server
 * knows its id) and goes on with the record. After the record: it goes on with the delete. After the delete: it finds
 * nothing. Tests: resiliency-crash.spec.
 */
export class OrphanMover {
  private readonly store: TaskStore;

  constructor(
    private readonly connection: Connection,
    private readonly options: OrphanMoverOptions,
  ) {
    this.store = new TaskStore(connection);
  }

  /** Does all the writes for one orphan. What it throws means: try again later. */
  async move(orphan: Orphan): Promise<OrphanFate> {
    const lost = await this.read(orphan);
    if (!lost) return 'gone';
    const startedAt = Date.now();
    const fate = await this.bury(lost);
    if (fate !== 'over') await this.writeRecord(lost);
    await deleteMessage(this.connection, orphan.stream, orphan.sequence);
    noteStep(() => buryStep(lost, fate, startedAt), lost.headers);
    return fate;
  }

  private async read(orphan: Orphan): Promise<Lost | undefined> {
    const { names } = this.connection;
    const place = names.parseLaneStream(orphan.stream);
    const message = place && (await leaderGetSequence(this.connection, orphan.stream, orphan.sequence));
    if (!message) return undefined;
    const [, lane = '', key] = names.tokens(message.subject);
    if (!isLane(lane) || !key) return undefined;
    return { orphan, queue: place.queue, lane, key, message, headers: readHeaders(message) };
  }

  private async bury(lost: Lost): Promise<'moved' | 'known' | 'over'> {
    const traces = await this.traces(lost);
    const known = this.standing(lost, traces);
    if (known) return known;
    const { queue, lane, key, message, headers, orphan } = lost;
    const death = { reason: DELIVERIES_EXHAUSTED, error: errorOf(lost), at: Date.now(), source: orphan, lane, type: headers.type };
    const ack = await this.store.publishDead(queue, key, {
      headers: message.headers,
      data: message.data,
      hop: headers.hop,
      extra: deathHeaders(death),
    });
    if (!ack.duplicate) {
      this.options.onDead?.(queue, DELIVERIES_EXHAUSTED);
      return 'moved';
    }
    // The server remembers the id: believed only on sight of the letter, or of what became of it. A letter that was
    // discarded since leaves its record. Otherwise the message stays, and the next try comes when the id is forgotten.
    const now = this.standing(lost, await this.traces(lost));
    if (now) return now;
    throw new Error(`the dead letter of ${queue}.${key} was stored and is nowhere to be seen`);
  }

  private traces({ queue, key }: Lost): Promise<TaskTraces> {
    return this.store.traces(queue, key, leaderGet);
  }

  private standing({ headers: { hop }, orphan, lane }: Lost, traces: TaskTraces): 'known' | 'over' | undefined {
    const { copies } = traces;
    if (copies.some((copy) => copy.place === 'dead' && copy.hop === hop) && !copies.some((copy) => copy.hop > hop)) return 'known';
    if (isOver(traces, hop)) return 'over';
    // A second copy of the same hop has a life of its own: only this one is removed.
    return copies.some(
      (copy) => copy.place === 'lane' && copy.hop === hop && (copy.lane !== lane || copy.stored.sequence !== orphan.sequence),
    )
      ? 'over'
      : undefined;
  }

  private async writeRecord(lost: Lost): Promise<void> {
    const { queue, key, headers } = lost;
    for (;;) {
      const { record, sequence } = await this.store.record(queue, key, leaderGet);
      if (record && (record.hop > headers.hop || (record.hop === headers.hop && isFinal(record.state)))) return;
      try {
        await this.store.writeRecord(queue, key, deadRecord(lost), this.options.keepMs(queue), sequence);
        return;
      } catch (error) {
        if (!(error instanceof WrongSequenceError)) throw error;
      }
    }
  }
}

function buryStep({ queue, lane, key, headers: { hop, type } }: Lost, outcome: OrphanFate, startedAt: number): TaskStep {
  return { step: 'bury', id: `${queue}.${key}`, queue, lane, type, hop, outcome, startedAt };
}

/** Headers that no worker could read must not keep the task from its dead letter. */
function readHeaders(message: StoredMessage): TaskHeaders {
  const hop = Number(message.headers.find(([name]) => name === HEADER.hop)?.[1] ?? 1);
  try {
    return parseTaskHeaders(new TextDecoder().decode(encodeHeaders(message.headers)));
  } catch {
    return {
      ...NO_TASK_HEADERS,
      hop: Number.isSafeInteger(hop) && hop > 0 ? hop : 1,
      type: message.headers.find(([name]) => name === HEADER.type)?.[1],
    };
  }
}

const errorOf = ({ orphan }: Lost): ErrorRecord => ({
  name: 'DeliveriesExhaustedError',
  message: `every delivery the server allows ended without an answer (stream ${orphan.stream}); look at the workers' logs of that time`,
  code: DELIVERIES_EXHAUSTED,
});

function deadRecord(lost: Lost): StateRecord {
  const { queue, lane, key, message, headers } = lost;
  return {
    id: `${queue}.${key}`,
    hop: headers.hop,
    lane,
    type: headers.type,
    group: headers.group,
    state: 'dead',
    attempt: headers.attempt,
    at: { ...(headers.createdAt === undefined ? {} : { created: headers.createdAt }), stored: message.storedAt, finished: Date.now() },
    error: errorOf(lost),
    reason: DELIVERIES_EXHAUSTED,
    hash: headers.hash,
    trace: headers.traceparent?.split('-')[1],
  };
}
