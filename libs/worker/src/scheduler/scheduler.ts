import { type Connection, type Delivery, PullLoop, type PullLoopHealth, provisionBase } from '@jetlane/jetstream';
import { HEADER, headerValue, traceOf } from '@jetlane/protocol';
import { noteStep } from '@jetlane/telemetry';
import { DueMover, type DueMoverOptions, type Fate, type MoverLog } from './due-mover.js';
import type { DueTask } from './due-task.js';

/** How a {@link Scheduler} works. Every field has a default. */
export interface SchedulerOptions extends Omit<DueMoverOptions, 'log'> {
  /** Told about what the scheduler survives. Default: silent. */
  readonly log?: MoverLog;
  /** Due tasks in hand at a time. Default 2048: two schedulers together stay below the consumer's limit of 5,000. */
  readonly slots?: number;
  /** Told what became of each due task. */
  readonly onFate?: (fate: Fate, queue: string) => void;
}

const LOG_EVERY_MS = 5000;
const silent: MoverLog = { warn: () => undefined, error: () => undefined };

/** Moves due tasks into their lanes. Any number of schedulers may run at once: the server deals each message to one. */
export class Scheduler {
  private readonly loop: PullLoop;
  private readonly mover: DueMover;
  private readonly log: MoverLog;
  private failures = 0;
  private toldFailuresAt = 0;

  constructor(
    private readonly connection: Connection,
    private readonly options: SchedulerOptions = {},
  ) {
    const { names } = connection;
    this.log = options.log ?? silent;
    this.mover = new DueMover(connection, { ...options, log: this.log });
    this.loop = new PullLoop(connection, {
      stream: names.schedules,
      consumer: names.schedulerConsumer,
      slots: options.slots ?? 2048,
      handle: (delivery) => this.handle(delivery),
      onError: (error) => this.failed(error),
      repair: () => provisionBase(connection),
    });
  }

  /** Makes what is missing on the server, and begins. @throws JetlaneError `server-too-old`, `stream-mismatch`, `jetstream-api` */
  async start(): Promise<void> {
    await provisionBase(this.connection);
    this.loop.start();
  }

  /** Takes no more and finishes what is in hand. */
  stop(): Promise<void> {
    return this.loop.stop();
  }

  /** Whether due tasks are being moved. */
  health(): PullLoopHealth {
    return this.loop.health();
  }

  // The one ack of the scheduler: `move` has resolved, so the consequence is stored. An ack lost with the link is a crash
  // between publish and ack; see DueMover.
  private async handle(delivery: Delivery): Promise<void> {
    const startedAt = Date.now();
    const { fate, task } = await this.mover.move(delivery);
    if (!this.loop.holds(delivery)) return;
    this.connection.ack(delivery);
    if (task) noteMove(task, { fate, startedAt, dueAt: delivery.storedAt });
    this.options.onFate?.(fate, task?.queue ?? '');
  }

  /** The message stays with its lease and comes again. One line per five seconds: an outage fails thousands at once. */
  private failed(error: unknown): void {
    this.failures++;
    const now = Date.now();
    if (now - this.toldFailuresAt < LOG_EVERY_MS) return;
    this.toldFailuresAt = now;
    this.log.warn({ error: error instanceof Error ? error.message : String(error), failures: this.failures }, 'due:not-moved');
    this.failures = 0;
  }
}

function noteMove({ queue, lane, key, hop, headers }: DueTask, move: { fate: Fate; startedAt: number; dueAt: number }): void {
  const { fate: outcome, startedAt, dueAt: storedAt } = move;
  const step = () => ({
    ...{ step: 'move' as const, id: `${queue}.${key}`, queue, lane, type: headerValue(headers, HEADER.type) },
    ...{ hop: outcome === 'postponed' ? hop + 1 : hop, outcome, startedAt, storedAt },
  });
  noteStep(step, traceOf(headers));
}
