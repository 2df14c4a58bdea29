import type { Connection } from '@jetlane/jetstream';
import { serveRegistered } from '@jetlane/nestjs/service';
import { DEAD_LETTER_COMMANDS, DEAD_LETTER_FACTS, type DeadLetterFactName } from '@jetlane/protocol';
import type { DeadLetters } from './dead-letters.js';
import type { Facts } from './facts.js';

/** Something that was done. */
interface Change {
  readonly task_id?: string;
  readonly job_id?: string;
  readonly dry_run?: true;
}

/** Answers the commands about dead letters over NATS. Of several processes one takes each call. */
export class DeadLetterCommands {
  private readonly stops: (() => void)[] = [];

  constructor(
    private readonly connection: Connection,
    private readonly letters: DeadLetters,
    private readonly facts: Facts,
  ) {}

  async start(): Promise<void> {
    const { connection, letters, stops } = this;
    await letters.start();
    const { list, get, redrive, discard, discardOne, jobs, job, cancelJob } = DEAD_LETTER_COMMANDS;
    const { redriven, discarded, jobCancelled } = DEAD_LETTER_FACTS;
    stops.push(
      serveRegistered(connection, list, (input) => letters.list(input)),
      serveRegistered(connection, get, (input) => letters.get(input)),
      serveRegistered(connection, redrive, (input, by) => this.told(redriven, by, letters.redrive(input, by))),
      serveRegistered(connection, discard, (input, by) => this.told(discarded, by, letters.discard(input, by))),
      serveRegistered(connection, discardOne, (input, by) => this.told(discarded, by, letters.discardOne(input, by))),
      serveRegistered(connection, jobs, () => letters.listJobs()),
      serveRegistered(connection, job, (input) => letters.job(input)),
      serveRegistered(connection, cancelJob, (input, by) => this.told(jobCancelled, by, letters.cancelJob(input))),
    );
  }

  async stop(): Promise<void> {
    for (const stop of this.stops.splice(0)) stop();
    await this.letters.stop();
  }

  /** What was done is told to the other services before the operator is answered: queue-manager keeps it in the audit. */
  private async told<T extends Change>(fact: DeadLetterFactName, caller: string, change: Promise<T>): Promise<T> {
    const result = await change;
    const { task_id, job_id = '', dry_run } = result;
    if (!dry_run) await this.facts.tell(fact, { at: Date.now(), caller, target: task_id ?? job_id, result });
    return result;
  }
}
