import { connect as connectSocket } from 'node:net';
import { type Connection, connect, ensureQueue } from '@jetlane/jetstream';
import { type RunningService, startService } from '@jetlane/nestjs/service';
import { DEFAULT_QUEUES, type QueueDefinition } from '@jetlane/protocol';
import { type NatsServer, startNatsServer } from '@jetlane/testing';
import { pino } from 'pino';
import { type GatewayConfig, readGatewayConfig } from '../../apps/gateway/src/config.js';
import { gatewayService } from '../../apps/gateway/src/service.js';

export type Json = Record<string, unknown>;

/** What an HTTP call gave. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Json;
  readonly text: string;
}

const QUEUES: QueueDefinition[] = [
  ...DEFAULT_QUEUES,
  { name: 'tiny', maxDepth: 2, workers: 1 },
  { name: 'typed', defaultType: 'echo', workers: 1, retry: { attempts: 1 } },
];

/** The real gateway in this process, in front of a nats-server of its own. */
export class GatewayFixture {
  private constructor(
    readonly nats: NatsServer,
    readonly admin: Connection,
    readonly service: RunningService<GatewayConfig>,
    /** All lines that the gateway logged, access lines among them. */
    readonly logged: string[],
  ) {}

  static async start(env: Record<string, string> = {}, given?: NatsServer, over: Partial<GatewayConfig> = {}): Promise<GatewayFixture> {
    const nats = given ?? (await startNatsServer());
    const { JETLANE_NAMESPACE: namespace = '', NATS_USER: user = '', NATS_PASSWORD: password = '' } = env;
    const admin = await connect({ servers: nats.url, namespace, ...(user ? { user, password } : {}) });
    for (const queue of QUEUES) await ensureQueue(admin, queue);
    const logged: string[] = [];
    const logger = pino({ level: env.LOG_LEVEL ?? 'info' }, { write: (line: string) => void logged.push(line) });
    const config = { ...readGatewayConfig({ GATEWAY_PORT: '0', NATS_URL: nats.url, LOG_FORMAT: 'json', ...env }), ...over };
    const service = await startService(gatewayService(config, logger), logger);
    return new GatewayFixture(nats, admin, service, logged);
  }

  get url(): string {
    return this.service.url;
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  async stop(options: { keepNats?: boolean } = {}): Promise<void> {
    await this.service.stop();
    await this.admin.close();
    if (!options.keepNats) await this.nats.stop();
  }

  async call(method: string, path: string, init: RequestInit & { duplex?: 'half' } = {}): Promise<Answer> {
    const response = await fetch(this.url + path, { method, ...init });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, body: parse(text) };
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    return this.call('GET', path, { headers });
  }

  /** Posts JSON, or text as it is. */
  post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    return this.call('POST', path, { body: text, headers: { 'content-type': 'application/json', ...headers } });
  }

  enqueue(body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    return this.post('/api/queue/enqueue', body, headers);
  }
}

function parse(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return {};
  }
}

/** Sends bytes over a plain socket and gives back all that comes until the server closes, or `ms` after the last byte. */
export function sendRaw(port: number, data: string | Buffer, ms = 300): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connectSocket({ port, host: '127.0.0.1' }, () => socket.write(data));
    socket.setTimeout(ms, () => socket.destroy());
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
    });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(text));
  });
}
