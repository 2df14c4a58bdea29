import { bodyText, type ConsumerState, type Delivery } from '@jetlane/jetstream';
import { z } from 'zod';

const schema = z.object({ stream: z.string(), consumer: z.string(), stream_seq: z.int().positive(), timestamp: z.string() });

/** The server gave a message up after `max_deliver` deliveries. */
export interface Advisory {
  readonly stream: string;
  readonly consumer: string;
  readonly sequence: number;
  /** Milliseconds since 1970, by the server's clock. */
  readonly at: number;
}

/** Reads a max-deliveries advisory; undefined when it is none. */
export function readAdvisory(delivery: Delivery): Advisory | undefined {
  try {
    const { stream, consumer, stream_seq: sequence, timestamp } = schema.parse(JSON.parse(bodyText(delivery)));
    return { stream, consumer, sequence, at: Date.parse(timestamp) };
  } catch {
    return undefined;
  }
}

/**
 * True when the message will be handed out again in spite of the advisory: the consumer is missing (whoever makes it
 * anew starts from the beginning), or was made anew since, or has not come that far.
 */
export function isOutdated(advisory: Advisory, consumer: ConsumerState | undefined): boolean {
  return !consumer || consumer.createdAt > advisory.at || consumer.deliveredSequence < advisory.sequence;
}
