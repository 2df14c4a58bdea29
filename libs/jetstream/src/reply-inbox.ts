import type { Msg, NatsConnection, Subscription } from '@nats-io/nats-core';
import { newInbox } from './denials.js';

/**
 * One subscription for the answers to many requests: the last token of the reply subject says which request an answer
 * belongs to. Nothing is timed here; owners sweep their own deadlines. No closure per request: this is on the hot path.
 */
export class ReplyInbox<T> {
  private readonly prefix: string;
  private readonly waiting = new Map<number, T>();
  private readonly subscription: Subscription;
  private counter = 0;

  /** @param answered takes a request and the one answer to it */
  constructor(
    private readonly nats: NatsConnection,
    private readonly answered: (request: T, message: Msg) => void,
  ) {
    this.prefix = `${newInbox(nats)}.`;
    this.subscription = nats.subscribe(`${this.prefix}*`, {
      callback: (error, message) => {
        if (!error) this.dispatch(message);
      },
    });
  }

  /** Registers a request. @returns its token */
  open(request: T): number {
    const token = ++this.counter;
    this.waiting.set(token, request);
    return token;
  }

  /** The subject that leads back to a token. */
  subject(token: number): string {
    return this.prefix + token;
  }

  /** Forgets a request; a late answer is dropped. */
  close(token: number): void {
    this.waiting.delete(token);
  }

  unsubscribe(): void {
    if (!this.nats.isClosed()) this.subscription.unsubscribe();
    this.waiting.clear();
  }

  private dispatch(message: Msg): void {
    const token = Number(message.subject.slice(this.prefix.length));
    const request = this.waiting.get(token);
    if (request === undefined) return;
    this.waiting.delete(token);
    this.answered(request, message);
  }
}
