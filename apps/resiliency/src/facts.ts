import type { Connection } from '@jetlane/jetstream';
import { JetStreamClient } from '@jetlane/nestjs/transport';
import type { DeadLetterFact, DeadLetterFactName } from '@jetlane/protocol';
import { lastValueFrom } from 'rxjs';

interface FactLog {
  warn(facts: object, event: string): void;
}

/** Tells the other services what operators did here, as events that are stored before the operator is answered. */
export class Facts {
  private readonly client: JetStreamClient;

  constructor(
    connection: Connection,
    private readonly log: FactLog,
  ) {
    this.client = new JetStreamClient({ connection });
  }

  /** Resolves when the fact is stored. What was done is done: a fact that cannot be stored is told in the log alone. */
  async tell(name: DeadLetterFactName, fact: DeadLetterFact): Promise<void> {
    try {
      await lastValueFrom(this.client.emit(name, fact));
    } catch (error) {
      this.log.warn({ fact: name, target: fact.target, caller: fact.caller, error: String(error) }, 'fact:not-stored');
    }
  }
}
