import { connect, type Msg, type MsgHdrs, type NatsConnection } from '@nats-io/transport-node';

/** Called with the answer to one request; the message is an error answer of JetStream when its body says so. */
export type OnReply = (reply: Msg) => void;

/**
 * The bare client at its fastest: one connection, one inbox, a slot per message in flight, and headers as bytes. nats-core asks
 * headers for nothing but `encode()`, so one object that hands out prepared bytes does for all of them.
 */
export class WireLink {
  private readonly replies: string[] = [];
  private readonly waiting: (OnReply | undefined)[] = [];
  private readonly free: number[] = [];
  private readonly inbox = `_INBOX.${Math.random().toString(36).slice(2)}${Date.now().toString(36)}`;
  private readonly hand = { bytes: new Uint8Array(0) as Uint8Array, encode: (): Uint8Array => this.hand.bytes };
  private readonly options = { headers: this.hand as unknown as MsgHdrs, reply: '' };
  private readonly plain = { reply: '' };

  private constructor(readonly nc: NatsConnection) {
    const prefix = this.inbox.length + 1;
    nc.subscribe(`${this.inbox}.*`, {
      callback: (_error, reply) => {
        const slot = Number(reply.subject.slice(prefix));
        const onReply = this.waiting[slot];
        if (onReply === undefined) return;
        this.waiting[slot] = undefined;
        this.free.push(slot);
        onReply(reply);
      },
    });
  }

  static async open(url: string, name: string): Promise<WireLink> {
    return new WireLink(await connect({ servers: url, name, noAsyncTraces: true, maxReconnectAttempts: 0 }));
  }

  /** Publishes with a reply subject of its own; `onReply` gets the one answer. */
  send(subject: string, body: Uint8Array, headers: Uint8Array | undefined, onReply: OnReply): void {
    const slot = this.free.pop() ?? this.grow();
    this.waiting[slot] = onReply;
    if (headers === undefined) {
      this.plain.reply = this.replies[slot]!;
      this.nc.publish(subject, body, this.plain);
    } else {
      this.hand.bytes = headers;
      this.options.reply = this.replies[slot]!;
      this.nc.publish(subject, body, this.options);
    }
  }

  /** `send` as a promise, for the calls whose cost does not matter. */
  ask(subject: string, body: Uint8Array, headers?: Uint8Array): Promise<Msg> {
    return new Promise((resolve) => this.send(subject, body, headers, resolve));
  }

  close(): Promise<void> {
    return this.nc.close();
  }

  private grow(): number {
    const slot = this.replies.length;
    this.replies.push(`${this.inbox}.${slot}`);
    this.waiting.push(undefined);
    return slot;
  }
}
