import { type Connection, directGetBatch, type ListedLane, listLanes, type StoredMessage } from '@jetlane/jetstream';
import { LANES, type TaskEntry } from '@jetlane/protocol';
import { type Budget, fits, isSpent, type Part, type TaskFilter, type TaskSource, within } from './task-filter.js';
import { timerEntry, waitingEntry } from './waiting-entry.js';

const BATCH = 500;
const BATCH_BYTES = 2 * 1024 * 1024;

/** A stretch of a stream that a source reads. */
interface Stretch {
  readonly stream: string;
  readonly subject: string;
  readonly after: number;
  /** The entry of a message; undefined for what is none of this source's. */
  readonly entry: (message: StoredMessage) => TaskEntry | undefined;
}

/** Reads on in a stream until the budget or the stretch is at its end. @returns the last sequence seen; undefined at the end */
async function readStretch(connection: Connection, stretch: Stretch, filter: TaskFilter, budget: Budget, into: TaskEntry[]) {
  for (let position = stretch.after; ; ) {
    if (isSpent(budget)) return position;
    const from = position === 0 && filter.from !== undefined ? { time: filter.from } : { sequence: position + 1 };
    const batch = Math.min(BATCH, Math.max(1, budget.scans));
    const { messages, pending } = await directGetBatch(connection, stretch.stream, {
      ...{ subject: stretch.subject, from, batch, maxBytes: BATCH_BYTES },
    });
    for (const message of messages) {
      if (message.storedAt >= (filter.to ?? Number.POSITIVE_INFINITY)) return undefined;
      position = message.sequence;
      budget.scans--;
      budget.bytes -= message.data.length;
      const entry = stretch.entry(message);
      if (entry && within(message.storedAt, filter) && fits(entry, filter, message.data)) {
        into.push(entry);
        budget.items--;
      }
      if (budget.items <= 0) return position;
    }
    if (pending === 0) return undefined;
  }
}

/** Tasks that wait in lanes: queue by queue, lane by lane, oldest first. */
export class QueuedSource implements TaskSource {
  readonly states = ['queued'] as const;

  constructor(
    private readonly connection: Connection,
    /** `<id>#<hop>` of what workers say they run. */
    private readonly running: () => ReadonlySet<string>,
  ) {}

  async read(filter: TaskFilter, after: string | undefined, budget: Budget): Promise<Part> {
    const entries: TaskEntry[] = [];
    const [startQueue = '', startLane = '', sequence = '0'] = after?.split(' ') ?? [];
    const start = orderOf({ queue: startQueue, lane: startLane });
    const running = this.running();
    for (const lane of await this.lanes(filter)) {
      const order = orderOf(lane);
      if (order < start) continue;
      const place = `${lane.queue} ${lane.lane}`;
      const end = await readStretch(
        this.connection,
        {
          stream: lane.stream,
          subject: this.connection.names.laneSubjects(lane.queue, lane.lane),
          after: order === start ? Number(sequence) || 0 : 0,
          entry: (message) => this.entry(message, lane, running),
        },
        filter,
        budget,
        entries,
      );
      if (end !== undefined) return { entries, next: `${place} ${end}` };
    }
    return { entries };
  }

  private async lanes({ queue, lane }: TaskFilter): Promise<ListedLane[]> {
    const lanes = await listLanes(this.connection, queue);
    return lanes
      .filter((one) => one.depth > 0 && (lane === undefined || one.lane === lane))
      .sort((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1));
  }

  private entry(message: StoredMessage, { queue, lane }: ListedLane, running: ReadonlySet<string>): TaskEntry | undefined {
    const id = `${queue}.${this.connection.names.tokens(message.subject).at(-1)}`;
    const entry = waitingEntry(id, 'queued', message, { lane });
    return running.has(`${id}#${entry.hop}`) ? undefined : entry;
  }
}

/** Queues by name, lanes from the highest. */
function orderOf({ queue, lane }: { readonly queue: string; readonly lane: string }): string {
  return `${queue} ${Math.max(0, (LANES as readonly string[]).indexOf(lane))}`;
}

/** Delayed tasks and retries whose time has not come, in the order in which their timers were set. */
export class TimerSource implements TaskSource {
  readonly states = ['scheduled', 'retrying'] as const;

  constructor(private readonly connection: Connection) {}

  async read(filter: TaskFilter, after: string | undefined, budget: Budget): Promise<Part> {
    const { names } = this.connection;
    const entries: TaskEntry[] = [];
    const end = await readStretch(
      this.connection,
      {
        stream: names.schedules,
        subject: filter.queue === undefined ? names.pattern('schedules.*.*') : names.timer(filter.queue, '*'),
        after: Number(after ?? 0) || 0,
        entry: (message) => timerEntry(names.tokens(message.subject).join('.'), message),
      },
      filter,
      budget,
      entries,
    );
    return { entries, ...(end === undefined ? {} : { next: String(end) }) };
  }
}
