import { type Connection, directGetBatch, streamState } from '@jetlane/jetstream';
import { decodeRecord, parseTaskId, recordEntry, type TaskEntry } from '@jetlane/protocol';

/** Which events to read. */
export interface TaskEventOptions {
  /** Only tasks of this queue. */
  readonly queue?: string;
  /** Only this task. @throws JetlaneError `invalid-argument` where it is no id */
  readonly id?: string;
  /** Goes on behind this event. Default: begins with what happens from now on. */
  readonly after?: number;
}

/** A task's record was written. */
export interface TaskEvent {
  /** Rises from event to event. */
  readonly sequence: number;
  readonly task: TaskEntry;
}

/** Events in the order in which they happened. */
export interface TaskEventBatch {
  readonly events: readonly TaskEvent[];
  /** Events before these were left out: the reader was too far behind, or what it asks for is not kept any more. */
  readonly gap?: {
    /** How many at most; undefined where nobody knows. */
    readonly missed: number | undefined;
    /** The reader goes on behind this sequence. */
    readonly after: number;
  };
  /** More is there already. */
  readonly more: boolean;
}

const BATCH = 200;
const BATCH_BYTES = 512 * 1024;
/** A reader that is further behind gets a gap, and goes on at the end: it would never catch up otherwise. */
export const MOST_BEHIND = 20_000;
/** A reader that has nothing to read asks only when the stream has grown; how old that knowledge may be, ms. */
const HEAD_FRESH_MS = 200;

/** How often a reader asks for what is new under one head. */
const LOOKS = 4;

/** How far the stream of records has grown: asked once for all readers of a connection. */
export class RecordHead {
  private last: { readonly at: number; readonly head: Promise<number> } | undefined;

  constructor(private readonly connection: Connection) {}

  /** @param freshMs greatest age of the answer */
  read(freshMs = HEAD_FRESH_MS): Promise<number> {
    const now = performance.now();
    if (this.last && now - this.last.at < freshMs) return this.last.head;
    const head = streamState(this.connection, this.connection.names.taskStates).then(({ lastSequence }) => lastSequence);
    this.last = { at: now, head };
    head.catch(() => {
      this.last = undefined;
    });
    return head;
  }
}

/**
 * Reads the events of tasks at the reader's own pace: nothing is kept for it, here or on the server, but its position. Every task
 * has one record, its last: who falls behind sees what came of a task, not every step.
 */
export class TaskEvents {
  /** The head that was looked up to last, and how often. */
  private looked = { head: -1, times: 0 };

  private constructor(
    private readonly connection: Connection,
    private readonly head: RecordHead,
    private readonly subject: string,
    /** Sequence up to which all is read. */
    private position: number,
  ) {}

  /** Begins behind `after`, or with what happens from now on. @throws JetlaneError `invalid-argument` where `id` is no id; `request-timeout`, `not-connected` */
  static async open(connection: Connection, head: RecordHead, { queue, id, after }: TaskEventOptions): Promise<TaskEvents> {
    const { names } = connection;
    const task = id === undefined ? undefined : parseTaskId(id);
    const subject = task ? names.state(task.queue, task.key) : queue ? names.state(queue, '*') : names.pattern('states.>');
    return new TaskEvents(connection, head, subject, after ?? (await head.read(0)));
  }

  /** What happened since the last call. @throws JetlaneError `request-timeout`, `not-connected`: call again */
  async next(): Promise<TaskEventBatch> {
    const last = await this.head.read();
    // The stream was made anew, or the reader's position was never one of it.
    if (last < this.position) return this.jump(await this.head.read(0), undefined);
    if (this.sawAll(last)) return { events: [], more: false };
    const { messages, pending } = await directGetBatch(this.connection, this.connection.names.taskStates, {
      ...{ subject: this.subject, from: { sequence: this.position + 1 }, batch: BATCH, maxBytes: BATCH_BYTES },
    });
    if (pending > MOST_BEHIND) return this.jump(last, messages.length + pending);
    const events = messages.flatMap(({ subject, data, sequence }): TaskEvent[] => {
      const record = decodeRecord(data);
      return record ? [{ sequence, task: recordEntry(this.connection.names.tokens(subject).join('.'), record) }] : [];
    });
    if (messages.length > 0) this.looked.times = 0;
    this.position = messages.at(-1)?.sequence ?? this.position;
    return { events, more: pending > 0 };
  }

  /** A replica may lag behind the head, so what it has not shown is asked for again before it counts as not there. */
  private sawAll(head: number): boolean {
    this.looked = { head, times: this.looked.head === head ? this.looked.times + 1 : 1 };
    return this.position === head || this.looked.times > LOOKS;
  }

  private jump(to: number, missed: number | undefined): TaskEventBatch {
    this.position = to;
    return { events: [], gap: { missed, after: to }, more: false };
  }
}
