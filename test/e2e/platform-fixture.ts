import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Connection, connect, ensureQueue } from '@jetlane/jetstream';
import { createDatabase, type Database } from '@jetlane/postgres';
import type { QueueDefinition } from '@jetlane/protocol';
import { type NatsServer, type Platform, type PlatformEvent, type ServiceProcess, startNatsServer, startPlatform } from '@jetlane/testing';
import { eventually } from '../support/wait-until.js';

export type Json = Record<string, unknown>;
export type QueueFigures = Json & { readonly totals?: Json | null };

/** What an HTTP call gave. */
export interface Answer {
  readonly status: number;
  readonly body: Json;
  readonly text: string;
  readonly tookMs: number;
}

/** Deadlines are for what never comes; what comes late on a busy machine is no failure. */
export const PATIENCE = { timeoutMs: 60_000, everyMs: 25 };
export const SERVICE_NAMES = ['gateway', 'queue-manager', 'scheduler', 'resiliency', 'analytics', 'worker'] as const;
export type ServiceName = (typeof SERVICE_NAMES)[number];

/** A queue whose tasks come back soon after their worker died. */
export const quick = (name: string): QueueDefinition => ({ name, lease: '5s', workers: 1 });

interface SiteOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Defined before any service starts. */
  readonly queues?: readonly QueueDefinition[];
  /** Let the platform run its nats-server, and restart it when it dies. Default: one that stays away until the test starts it. */
  readonly embeddedNats?: boolean;
}

/** The whole platform as `npm start` runs it, on random ports and in a folder of its own, and hands to use it with. */
export class Site {
  private constructor(
    readonly platform: Platform,
    readonly nats: NatsServer,
    readonly connection: Connection,
    readonly database: Database,
    /** All that the launcher told so far. */
    readonly events: readonly PlatformEvent[],
    private readonly dir: string,
  ) {}

  static async start({ env = {}, queues = [], embeddedNats = false }: SiteOptions = {}): Promise<Site> {
    const dir = mkdtempSync(join(tmpdir(), 'jetlane-e2e-'));
    // PostgreSQL runs as another user where the tests run as root.
    chmodSync(dir, 0o755);
    const seed = await startNatsServer({ storeDir: join(dir, embeddedNats ? 'nats' : 'broker') });
    await define(seed.url, queues);
    if (embeddedNats) await seed.stop();
    const events: PlatformEvent[] = [];
    const platform = await startPlatform({
      ports: 'random',
      dataDir: dir,
      env: { NODE_ENV: 'production', ...(embeddedNats ? {} : { NATS_URL: seed.url }), ...env },
      onEvent: (event) => events.push(event),
    });
    const database = createDatabase(platform.urls.database, { maxConnections: 2 });
    return new Site(platform, platform.nats ?? seed, await connect({ servers: platform.urls.nats }), database, events, dir);
  }

  async stop(): Promise<void> {
    await this.connection.close();
    await this.database.destroy();
    await this.platform.stop();
    await this.nats.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  service(name: ServiceName): ServiceProcess {
    return this.platform.services.get(name)!;
  }

  /** Process ids and unwanted restarts: the same before and after means that nobody died. */
  lives(): Json {
    return Object.fromEntries([...this.platform.services].map(([name, { pid, restarts }]) => [name, { pid, restarts }]));
  }

  async call(method: string, path: string, init: RequestInit = {}, base = this.platform.urls.gateway): Promise<Answer> {
    const before = performance.now();
    const response = await fetch(base + path, { method, signal: AbortSignal.timeout(90_000), ...init });
    const text = await response.text();
    return { status: response.status, text, body: parse(text), tookMs: performance.now() - before };
  }

  get(path: string, base?: string): Promise<Answer> {
    return this.call('GET', path, {}, base);
  }

  post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    return this.call('POST', path, { body: text, headers: { 'content-type': 'application/json', ...headers } });
  }

  /** Enqueues into the queue `default`, unless told otherwise. @param query as in `?wait=30s` */
  enqueue(task: Json, query = '', headers: Record<string, string> = {}): Promise<Answer> {
    return this.post(`/api/queue/enqueue${query}`, { queue_name: 'default', ...task }, headers);
  }

  async task(id: unknown): Promise<Json> {
    return (await this.get(`/api/queue/status/${encodeURIComponent(String(id))}`)).body;
  }

  /** Waits until a task is in a state. @returns the task as the gateway shows it */
  async reaches(id: unknown, state: string): Promise<Json> {
    let last: Json = {};
    await eventually(
      `task ${String(id)} becomes ${state}`,
      async () => {
        last = await this.task(id);
        return last.state === state;
      },
      PATIENCE,
    ).catch((error: unknown) => {
      throw new Error(`${(error as Error).message}; it is ${JSON.stringify(last)}`);
    });
    return last;
  }

  /** Figures of a queue, and the services that could not tell theirs. */
  async stats(queue: string): Promise<{ missing: string[]; queue: QueueFigures }> {
    const { body } = await this.get(`/api/queue/stats/${queue}`);
    const { missing = [], queues = [] } = body as { missing?: { service: string }[]; queues?: QueueFigures[] };
    return { missing: missing.map(({ service }) => service), queue: queues[0] ?? {} };
  }

  /** Waits until exactly these services are missing in the figures of a queue. @returns the figures */
  async missing(queue: string, ...services: ServiceName[]): Promise<QueueFigures> {
    let last: QueueFigures = {};
    const found = async () => {
      const stats = await this.stats(queue);
      last = stats.queue;
      return stats.missing.join() === services.join() && last.queue_name === queue;
    };
    await eventually(`stats of ${queue} miss ${services.join(', ') || 'nothing'}`, found, PATIENCE);
    return last;
  }

  async balance(user: string): Promise<number | undefined> {
    return (await this.database.selectFrom('users').select('balance').where('id', '=', user).executeTakeFirst())?.balance;
  }

  /** Ids of the tasks that credited a user, one per purchase. */
  async purchases(user: string): Promise<string[]> {
    const rows = await this.database.selectFrom('purchases').select('task_id').where('user_id', '=', user).execute();
    return rows.map(({ task_id }) => String(task_id));
  }

  /** The platform works: a task goes all the way. */
  async expectWork(): Promise<void> {
    await eventually('a task goes all the way', async () => (await this.tryTask()) === 'completed', PATIENCE);
  }

  private async tryTask(): Promise<unknown> {
    const answer = await this.enqueue({ task_type: 'count', task_data: { collection: 'users' } }, '?wait=10s').catch(() => undefined);
    return answer?.body.state;
  }
}

export const purchase = (user_id: string, amount: number, more: Json = {}): Json => ({
  task_type: 'credit_purchase',
  task_data: { user_id, amount },
  ...more,
});

async function define(url: string, queues: readonly QueueDefinition[]): Promise<void> {
  const connection = await connect({ servers: url });
  for (const queue of queues) await ensureQueue(connection, queue);
  await connection.close();
}

function parse(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return {};
  }
}
