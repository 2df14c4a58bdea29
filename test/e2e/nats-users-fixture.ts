import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Connection, connect } from '@jetlane/jetstream';
import type { Topology } from '@jetlane/protocol';
import { freePorts, type NatsServer, SERVICES, startNatsServer, waitUntil } from '@jetlane/testing';
import { inboxPrefix, makeUsers } from '../../scripts/lib/nats-users.mjs';
import { ChildService } from './child-service.js';

export const NAMESPACE = 'acme';
const PLATFORM = ['queue-manager', 'gateway', 'scheduler', 'resiliency', 'analytics'] as const;

/** A nats-server with the users that `npm run nats-users` makes, and the five services, each under its own. */
export class UsersSite {
  private readonly children: ChildService[] = [];
  private readonly connections: Connection[] = [];
  gateway = '';

  private constructor(
    private readonly dir: string,
    readonly nats: NatsServer,
    private readonly topology: Topology,
  ) {}

  static async start(topology: Topology = 'lanes'): Promise<UsersSite> {
    const dir = mkdtempSync(join(tmpdir(), 'jetlane-users-'));
    const out = join(dir, 'users.conf');
    await makeUsers({ keys: join(dir, 'keys'), out, namespace: NAMESPACE });
    return new UsersSite(dir, await startNatsServer({ storeDir: join(dir, 'nats'), extra: readFileSync(out, 'utf8') }), topology);
  }

  /** Where a user's seed lies. */
  seed(user: string): string {
    return join(this.dir, 'keys', `${user}.nk`);
  }

  /** @param inbox of which user */
  async connect(user: string, inbox = user): Promise<Connection> {
    const connection = await connect({
      servers: this.nats.url,
      namespace: NAMESPACE,
      topology: this.topology,
      nkeySeedFile: this.seed(user),
      inboxPrefix: inboxPrefix(inbox, NAMESPACE),
      publishTimeoutMs: 60_000,
    });
    this.connections.push(connection);
    return connection;
  }

  /** Starts the services as the compose file does: the queue-manager first. */
  async services(): Promise<void> {
    const ports = await freePorts(PLATFORM.length);
    const started = PLATFORM.map((name, i) => this.service(name, ports[i]!));
    await started[0]!();
    await Promise.all(started.slice(1).map((start) => start()));
    this.gateway = `http://127.0.0.1:${ports[PLATFORM.indexOf('gateway')]}`;
  }

  /** Follows an event stream of the gateway, on a connection of its own. */
  async listen(path: string): Promise<{ text(): string; close(): void }> {
    const asked = request(this.gateway + path, { agent: false }).end();
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    if (response.statusCode !== 200) throw new Error(`${path}: ${response.statusCode}`);
    let text = '';
    response.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    // Closing it ends it in the middle.
    response.on('error', () => undefined);
    return { text: () => text, close: () => void response.destroy() };
  }

  /** What the server logged about permissions. */
  violations(): string[] {
    return readFileSync(this.nats.logFile, 'utf8')
      .split('\n')
      .filter((line) => line.includes('Violation'));
  }

  async stop(): Promise<void> {
    await Promise.all(this.connections.map((connection) => connection.close()));
    await Promise.all(this.children.map((child) => child.stop()));
    await this.nats.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Starts a service, whether it comes up or not. */
  child(name: (typeof PLATFORM)[number], port = 0, topology = this.topology): ChildService {
    const { entry, portEnv } = SERVICES.find((service) => service.name === name)!;
    const child = new ChildService(fileURLToPath(new URL(`../../${entry}`, import.meta.url)), {
      NATS_URL: this.nats.url,
      JETLANE_TOPOLOGY: topology,
      JETLANE_NAMESPACE: NAMESPACE,
      NATS_NKEY_SEED: this.seed(name),
      NATS_INBOX_PREFIX: inboxPrefix(name, NAMESPACE),
      JETLANE_SEARCH_DIR: join(this.dir, 'search'),
      [portEnv]: String(port),
    });
    this.children.push(child);
    return child;
  }

  private service(name: (typeof PLATFORM)[number], port: number): () => Promise<void> {
    return async () => {
      const child = this.child(name, port);
      const ready = await waitUntil(async () => !child.running || (await isReady(port)), { timeoutMs: 60_000, everyMs: 50 });
      if (!ready || !child.running) throw new Error(`${name} is not ready:\n${child.output}`);
    };
  }
}

async function isReady(port: number): Promise<boolean> {
  const response = await fetch(`http://127.0.0.1:${port}/health/ready`).catch(() => undefined);
  return response?.ok ?? false;
}
