import { connect, headers, type NatsConnection } from '@nats-io/transport-node';
import type { Json } from './platform-fixture.js';

/** Header names and values as a stranger writes them; a number in front stands for a status line. */
export type Headers = readonly (readonly [name: string, value: string])[];

/** Somebody who knows nothing of Jetlane but its wire protocol, with nothing but a NATS client. */
export class Stranger {
  private constructor(readonly nats: NatsConnection) {}

  static async connect(url: string): Promise<Stranger> {
    return new Stranger(await connect({ servers: url, name: 'stranger' }));
  }

  /** Publishes into a stream and returns its confirmation. */
  async store(subject: string, body: string | Uint8Array, pairs: Headers = [], statusLine?: number): Promise<Json> {
    const block = statusLine === undefined ? headers() : headers(statusLine, 'Nobody');
    for (const [name, value] of pairs) block.append(name, value);
    const answer = await this.nats.request(subject, body, { timeout: 10_000, headers: block });
    return answer.json<Json>();
  }

  /** Publishes to whoever listens. */
  tell(subject: string, body: string | Uint8Array, reply?: string): void {
    this.nats.publish(subject, body, reply === undefined ? {} : { reply });
  }

  async close(): Promise<void> {
    await this.nats.drain();
  }
}

export const noise = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 167 + 13) % 256);
