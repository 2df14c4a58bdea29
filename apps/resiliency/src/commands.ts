import type { Connection } from '@jetlane/jetstream';
import { type CommandHandler, serveCommand } from '@jetlane/nestjs/service';
import { DEAD_LETTER_FACTS, DEAD_LETTER_SERVICE, type DeadLetterFactName } from '@jetlane/protocol';
import type { DeadLetters } from './dead-letters.js';
import type { Facts } from './facts.js';

/** Answers the commands about dead letters over NATS; of several processes one takes each call. */
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

  /** What was done is told to the other services before the operator is answered: queue-manager keeps it in the audit. */
  private serveChange(command: string, fact: DeadLetterFactName, handler: (input: unknown) => Promise<object>): void {
    this.serve(command, async (input, caller) => {
      const result = await handler(input);
      const { by, dryRun } = (input ?? {}) as { by?: string; dryRun?: boolean };
      if (!dryRun)
        await this.facts.tell(fact, { at: Date.now(), caller: by ?? caller, target: 'id' in result ? String(result.id) : '', result });
      return result;
    });
  }

  private serve(command: string, handler: CommandHandler): void {
    this.stops.push(serveCommand(this.connection, DEAD_LETTER_SERVICE, command, handler));
  }
}
