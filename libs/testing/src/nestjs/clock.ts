import { type Connection, deleteMessage, directGetNext, type StoredMessage } from '@jetlane/jetstream';
import { encodeHeaders, HEADER, headerValue, stripServerHeaders, WrongSequenceError } from '@jetlane/protocol';
import { Scheduler } from '@jetlane/worker/scheduler';
import { waitUntil } from '../process/wait-until.js';
import { timersOf } from './waiting-tasks.js';

/** What a clock is told about the application whose time passes. */
export interface Passage {
  readonly queues: readonly string[];
  /** True when the running workers have nothing left to do. */
  readonly idle: () => Promise<boolean>;
  /** Nobody works, so what fires now has no consequences that later timers would have to wait for. */
  readonly still: boolean;
  /** Longest real time, in ms. */
  readonly timeoutMs: number;
}

interface Timer {
  readonly stored: StoredMessage;
  /** From the beginning of the passage, in ms. */
  readonly dueMs: number;
}

const SILENT = { warn: () => undefined, error: () => undefined };

/** Lets time pass for the timers of some queues: what is due within it fires at once and in order, through a scheduler as it always does. */
export class TestClock {
  constructor(private readonly connection: Connection) {}

  /** @returns how many timers fired @throws Error when the consequences do not come to an end in time */
  async advance(ms: number, passage: Passage): Promise<number> {
    const scheduler = new Scheduler(this.connection, { log: SILENT, slots: 64 });
    await scheduler.start();
    try {
      return await this.pass(ms, passage, performance.now() + passage.timeoutMs);
    } finally {
      await scheduler.stop();
    }
  }

  /** A timer that is set on the way counts from the moment at which it is set, not from the beginning. */
  private async pass(ms: number, passage: Passage, deadline: number): Promise<number> {
    const known = new Map<string, number>();
    for (let elapsed = 0, fired = 0; ; ) {
      await this.settled(passage, deadline);
      const timers = await this.timers(passage.queues, known, elapsed);
      const next = timers.reduce((least, { dueMs }) => Math.min(least, dueMs), Number.POSITIVE_INFINITY);
      if (next > ms) {
        for (const timer of timers) await this.bringForward(timer, timer.dueMs - ms);
        return fired;
      }
      elapsed = passage.still ? ms : next;
      const due = timers.filter(({ dueMs }) => dueMs <= elapsed).sort((a, b) => a.dueMs - b.dueMs);
      for (const timer of due) await this.fire(timer);
      fired += due.length;
    }
  }

  private async timers(queues: readonly string[], known: Map<string, number>, elapsed: number): Promise<Timer[]> {
    const found: Timer[] = [];
    for (const queue of queues) {
      for await (const stored of timersOf(this.connection, queue)) {
        const id = String(stored.sequence);
        const dueMs = known.get(id) ?? elapsed + Math.max(0, atOf(stored) - Date.now());
        known.set(id, dueMs);
        found.push({ stored, dueMs });
      }
    }
    return found;
  }

  /** What the server does when the hour has come. Both may do it: a hop is moved to its lane once. */
  private async fire({ stored }: Timer): Promise<void> {
    const target = headerValue(stored.headers, HEADER.scheduleTarget)!;
    await this.connection.publish(target, stored.data, encodeHeaders(stripServerHeaders(stored.headers)));
    await deleteMessage(this.connection, this.connection.names.schedules, stored.sequence);
  }

  /** Sets a timer anew, so that it fires as much earlier as time has passed. One that has fired meanwhile is left alone. */
  private async bringForward({ stored }: Timer, inMs: number): Promise<void> {
    const headers = encodeHeaders([
      [HEADER.expectedSubjectSequence, String(stored.sequence)],
      [HEADER.schedule, `@at ${new Date(Date.now() + inMs).toISOString()}`],
      [HEADER.scheduleTarget, headerValue(stored.headers, HEADER.scheduleTarget)!],
      ...stripServerHeaders(stored.headers),
    ]);
    await this.connection.publish(stored.subject, stored.data, headers).catch((error: unknown) => {
      if (!(error instanceof WrongSequenceError)) throw error;
    });
  }

  /** Waits until what is due is in its lanes and worked off. */
  private async settled({ idle }: Passage, deadline: number): Promise<void> {
    const { names } = this.connection;
    // The stream is asked, since a consumer learns of a message a moment after its confirmation.
    const nothingDue = async () => (await directGetNext(this.connection, names.schedules, 1, names.pattern('due.>'))) === undefined;
    const quiet = async () => (await nothingDue()) && (await idle());
    const timeoutMs = Math.max(0, deadline - performance.now());
    if (!(await waitUntil(quiet, { timeoutMs, everyMs: 5 }))) throw new Error('time cannot pass: what became due is not done in time');
  }
}

const atOf = ({ headers }: StoredMessage): number => Date.parse((headerValue(headers, HEADER.schedule) ?? '').replace(/^@at /, ''));
