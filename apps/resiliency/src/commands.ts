import type { Connection } from '@jetlane/jetstream';
import { type CommandHandler, serveCommand, serveRegistered } from '@jetlane/nestjs/service';
import {
  DEAD_LETTER_COMMANDS,
  DEAD_LETTER_FACTS,
  DEAD_LETTER_SERVICE,
  type DeadLetterFactName,
  deadLetterDetailView,
  deadLetterFilterOf,
  deadLetterJobView,
  deadLetterPageView,
} from '@jetlane/protocol';
import type { DeadLetters } from './dead-letters.js';
import type { Facts } from './facts.js';
import { movedView, orderOf } from './registered.js';

/** Something that was done. */
interface Change {
  readonly id?: string;
  readonly dryRun?: true;
}

/**
 * Answers the commands about dead letters over NATS: those of the registry, and those that the client library calls, which speaks of dead
 * letters in its own types. Of several processes one takes each call.
 */
export class DeadLetterCommands {
  private readonly stops: (() => void)[] = [];

  constructor(
    private readonly connection: Connection,
    private readonly letters: DeadLetters,
    private readonly facts: Facts,
  ) {}

  async start(): Promise<void> {
    await this.letters.start();
    const { letters } = this;
    this.serveRegistry();
    this.serve('list', (input) => letters.list(input));
    this.serve('get', (input) => letters.get(input));
    this.serve('export', (input) => letters.export(input));
    this.serveChange('redrive', DEAD_LETTER_FACTS.redriven, (input) => letters.redrive(input));
    this.serveChange('discard', DEAD_LETTER_FACTS.discarded, (input) => letters.discard(input));
    this.serve('job', (input) => letters.job(input));
    this.serve('jobs', () => letters.listJobs());
    this.serveChange('cancel', DEAD_LETTER_FACTS.jobCancelled, (input) => letters.cancel(input));
  }

  async stop(): Promise<void> {
    for (const stop of this.stops.splice(0)) stop();
    await this.letters.stop();
  }

  private serveRegistry(): void {
    const { connection, letters, stops } = this;
    const { list, get, redrive, discard, discardOne, jobs, job, cancelJob } = DEAD_LETTER_COMMANDS;
    const { redriven, discarded, jobCancelled } = DEAD_LETTER_FACTS;
    stops.push(
      serveRegistered(connection, list, async ({ limit, cursor: after = 0, ...filter }) =>
        deadLetterPageView(await letters.list({ ...deadLetterFilterOf(filter), limit, after })),
      ),
      serveRegistered(connection, get, async ({ task_id: id }) => deadLetterDetailView(await letters.get({ id }))),
      serveRegistered(connection, redrive, async (input, by) =>
        movedView(await this.told(redriven, by, letters.redrive(orderOf(input, by)))),
      ),
      serveRegistered(connection, discard, async (input, by) =>
        movedView(await this.told(discarded, by, letters.discard(orderOf(input, by)))),
      ),
      serveRegistered(connection, discardOne, async ({ task_id: id }, by) => {
        await this.told(discarded, by, letters.discard({ id, by }));
        return { task_id: id, discarded: true };
      }),
      serveRegistered(connection, jobs, async () => ({ jobs: (await letters.listJobs()).jobs.map(deadLetterJobView) })),
      serveRegistered(connection, job, async ({ job_id: id }) => deadLetterJobView(await letters.job({ id }))),
      serveRegistered(connection, cancelJob, async ({ job_id: id }, by) =>
        deadLetterJobView(await this.told(jobCancelled, by, letters.cancel({ id }))),
      ),
    );
  }

  /** What was done is told to the other services before the operator is answered: queue-manager keeps it in the audit. */
  private async told<T extends object>(fact: DeadLetterFactName, caller: string, change: Promise<T>): Promise<T> {
    const result = await change;
    const { id = '', dryRun } = result as Change;
    if (!dryRun) await this.facts.tell(fact, { at: Date.now(), caller, target: String(id), result });
    return result;
  }

  private serveChange(command: string, fact: DeadLetterFactName, handler: (input: unknown) => Promise<object>): void {
    this.serve(command, (input, caller) => this.told(fact, (input as { by?: string } | null)?.by ?? caller, handler(input)));
  }

  private serve(command: string, handler: CommandHandler): void {
    this.stops.push(serveCommand(this.connection, DEAD_LETTER_SERVICE, command, handler));
  }
}
