import type { Connection } from '@jetlane/jetstream';
import { serveCommand } from '@jetlane/nestjs/service';
import { DEAD_LETTER_SERVICE } from '@jetlane/protocol';
import type { DeadLetters } from './dead-letters.js';

/** Answers the commands about dead letters over NATS; of several processes one takes each call. */
export class DeadLetterCommands {
  private readonly stops: (() => void)[] = [];

  constructor(
    private readonly connection: Connection,
    private readonly letters: DeadLetters,
  ) {}

  async start(): Promise<void> {
    await this.letters.start();
    const { letters } = this;
    this.serve('list', (input) => letters.list(input));
    this.serve('get', (input) => letters.get(input));
    this.serve('export', (input) => letters.export(input));
    this.serve('redrive', (input) => letters.redrive(input));
    this.serve('discard', (input) => letters.discard(input));
    this.serve('job', (input) => letters.job(input));
    this.serve('jobs', () => letters.listJobs());
    this.serve('cancel', (input) => letters.cancel(input));
  }

  async stop(): Promise<void> {
    for (const stop of this.stops.splice(0)) stop();
    await this.letters.stop();
  }

  private serve(command: string, handler: (input: unknown) => Promise<unknown>): void {
    this.stops.push(serveCommand(this.connection, DEAD_LETTER_SERVICE, command, handler));
  }
}
