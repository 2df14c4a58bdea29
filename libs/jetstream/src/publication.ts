import type { Payload } from './outbox.js';

/** The server's confirmation that a message is stored. */
export interface PubAck {
  /** Its sequence in the stream; of a message that went in a batch, that of the batch's last one. */
  readonly seq: number;
  /** The message id was seen within the stream's duplicate window: nothing was stored now. */
  readonly duplicate?: boolean;
}

/**
 * One message on its way into a stream, as the {@link Publisher} keeps it until the server has confirmed it. Whoever
 * publishes at the speed of the wire brings a class of his own: it holds what is needed at the confirmation anyway, so no
 * promise and no closure is made per message, and what is in flight is what the garbage collector copies again and again.
 */
export abstract class Publication {
  /** Names the message in its reply subject while an answer is awaited, else 0. */
  token = 0;
  /** `performance.now()` at which the publisher gives up. */
  deadline = 0;
  /** When to send again after a refusal that passes; 0 while an answer is awaited. */
  retryAt = 0;
  refusals = 0;
  /** `performance.now()` of the last sending. */
  sentAt = 0;
  /**
   * `performance.now()` of its first sending that was not answered, since the link broke or the server was silent: it may be stored from
   * then on, whatever comes after. 0: there was none.
   */
  doubtfulSince = 0;

  constructor(
    readonly subject: string,
    readonly data: Payload,
    readonly headers: Payload | undefined,
  ) {}

  /**
   * Asked before every sending that is not at once: after a wait for the window, a reconnect or a refusal. False when storing
   * it now could do harm, as a record of a worker whose lease has ended meanwhile; it is then refused as `publish-timeout`.
   * Must not throw.
   */
  stillWanted(): boolean {
    return true;
  }

  /** A sending at this time, of `performance.now()`, is not answered. */
  doubt(sentAt: number): void {
    if (this.doubtfulSince === 0) this.doubtfulSince = sentAt;
  }

  /** The server has stored the message. Must not throw. */
  abstract confirmed(ack: PubAck): void;
  /** It is not stored, or nobody knows: the error says which. Must not throw. */
  abstract refused(error: Error): void;
}

/** A publication that somebody awaits. */
export class AwaitedPublication extends Publication {
  readonly stored: Promise<PubAck>;
  confirmed!: (ack: PubAck) => void;
  refused!: (error: Error) => void;

  constructor(
    subject: string,
    data: Payload,
    headers: Payload | undefined,
    private readonly wanted?: () => boolean,
  ) {
    super(subject, data, headers);
    this.stored = new Promise((resolve, reject) => {
      this.confirmed = resolve;
      this.refused = reject;
    });
  }

  override stillWanted(): boolean {
    return this.wanted === undefined || this.wanted();
  }
}
