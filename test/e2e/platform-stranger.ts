import { connect as connectSocket } from 'node:net';
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

  /** Publishes into a stream. @throws Error when the stream refuses it */
  async store(subject: string, body: string | Uint8Array, pairs: Headers = [], statusLine?: number): Promise<Json> {
    const block = statusLine === undefined ? headers() : headers(statusLine, 'Nobody');
    for (const [name, value] of pairs) block.append(name, value);
    const answer = await this.nats.request(subject, body, { timeout: 10_000, headers: block });
    const ack = answer.json<Json>();
    if (ack.error) throw new Error(`${subject} refused: ${JSON.stringify(ack.error)}`);
    return ack;
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

/** Throws bytes at a port and goes away when an answer comes, or after a moment. */
export function throwAt(port: number, bytes: string): Promise<void> {
  return new Promise((resolve) => {
    const socket = connectSocket({ port, host: '127.0.0.1' }, () => socket.write(bytes, 'latin1'));
    socket.setTimeout(100, () => socket.destroy());
    socket.on('data', () => socket.destroy());
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
  });
}

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const LABEL = /([A-Za-z_]\w*)="((?:[^"\\\n]|\\[\\"n])*)"/;
const LABELS = new RegExp(`${LABEL.source},?`, 'g');
const LINE = new RegExp(`^([A-Za-z_:][\\w:]*)(?:\\{((?:${LABEL.source.replace(/\((?!\?)/g, '(?:')},?)*)\\})? (\\S+)(?: \\d+)?$`);

/** Reads the Prometheus text format. @throws Error on a line that does not fit it, and on a sample whose family has no type */
export function parsePrometheus(text: string): Sample[] {
  const types = new Set<string>();
  const samples: Sample[] = [];
  for (const line of text.split('\n')) {
    const type = /^# TYPE (\S+) (counter|gauge|histogram|summary|untyped)$/.exec(line);
    if (type) types.add(type[1]!);
    if (line === '' || line.startsWith('#')) continue;
    const [, name = '', labels = '', value = ''] = LINE.exec(line) ?? [];
    const family = [name, name.replace(/_(bucket|count|sum)$/, '')].some((known) => types.has(known));
    if (!family || (value !== '+Inf' && !Number.isFinite(Number(value)))) throw new Error(`not a sample in the Prometheus format: ${line}`);
    samples.push({
      name,
      labels: Object.fromEntries([...labels.matchAll(LABELS)].map(([, key, content]) => [key, content])),
      value: Number(value),
    });
  }
  return samples;
}
