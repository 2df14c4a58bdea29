import type { HeaderPair } from '@jetlane/protocol';
import { headerValue } from '@jetlane/protocol';
import { BaseRpcContext } from '@nestjs/microservices';

/** What is known of a delivered event or of a request. */
export interface MessageFacts {
  /** As it was emitted or sent: `orders.created`, without any namespace. */
  readonly subject: string;
  readonly headers: readonly HeaderPair[];
  /** Handler runs so far, this one included; 1 for requests. */
  readonly attempt: number;
  /** Place in the stream of events: the same for every run and every reader; undefined for requests. */
  readonly sequence: number | undefined;
  /** When the server stored the event, ms since 1970; undefined for requests. */
  readonly storedAt: number | undefined;
}

/** The context of a handler: `@Ctx() context: JetStreamContext`. */
export class JetStreamContext extends BaseRpcContext<[MessageFacts]> {
  constructor(facts: MessageFacts) {
    super([facts]);
  }

  /** The subject without wildcards: which of the events that a pattern takes this is. */
  getSubject(): string {
    return this.args[0].subject;
  }

  /** Last value of a header. */
  getHeader(name: string): string | undefined {
    return headerValue(this.args[0].headers, name);
  }

  /** Counts from 1. */
  getAttempt(): number {
    return this.args[0].attempt;
  }

  /** A number that is the same whenever this event is handled: what a handler can recognise repetitions by. */
  getSequence(): number | undefined {
    return this.args[0].sequence;
  }

  /** When the server stored the event, ms since 1970. */
  getStoredAt(): number | undefined {
    return this.args[0].storedAt;
  }
}
