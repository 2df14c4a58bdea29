import { createInbox, type Msg, type NatsConnection, type Subscription } from '@nats-io/nats-core';

/** Takes the one answer to a request. */
export type ReplyHandler = (message: Msg) => void;

/**
 * One subscription for the answers to many requests: the last token of the reply subject says which request an answer
 * belongs to. Nothing is timed here; owners sweep their own deadlines.
 */
export class ReplyInbox {
  private readonly prefix = `${createInbox()}.`;
  private readonly handlers = new Map<string, ReplyHandler>();
  private readonly subscription: Subscription;
  private counter = 0;

  constructor(nats: NatsConnection) {
    this.subscription = nats.subscribe(`${this.prefix}*`, {
      callback: (error, message) => {
        if (!error) this.dispatch(message);
      },
    });
  }

  /** Registers a handler for one answer. */
  open(handler: ReplyHandler): string {
    const token = (this.counter++).toString(36);
    this.handlers.set(token, handler);
    return token;
  }

  /** The subject that leads back to a token. */
  subject(token: string): string {
    return this.prefix + token;
  }

  /** Forgets a request; a late answer is dropped. */
  close(token: string): void {
    this.handlers.delete(token);
  }

  unsubscribe(): void {
    this.subscription.unsubscribe();
    this.handlers.clear();
  }

  private dispatch(message: Msg): void {
    const token = message.subject.slice(this.prefix.length);
    const handler = this.handlers.get(token);
    if (!handler) return;
    this.handlers.delete(token);
    handler(message);
  }
}
