import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Connection, connect } from '@jetlane/jetstream';
import {
  type NatsCluster,
  type NatsServer,
  type Platform,
  type PostgresServer,
  SERVICES,
  type ServiceProcess,
  startNatsCluster,
  startNatsServer,
  startPlatform,
  startPostgres,
} from '@jetlane/testing';
import { LinkProxy } from '../support/link-proxy.js';

export const NAMESPACE = 'chaos';
/** Taken for given by the services' launcher; nothing here connects to it. */
const NO_DATABASE = 'postgres://127.0.0.1:9/none';

export type ServiceName = 'gateway' | 'queue-manager' | 'scheduler' | 'resiliency' | 'analytics';
const SERVICE_NAMES: readonly ServiceName[] = ['gateway', 'queue-manager', 'scheduler', 'resiliency', 'analytics'];

/** A copy of resiliency whose every word goes through a proxy. */
export interface WatchedService {
  readonly service: ServiceProcess;
  readonly proxy: LinkProxy;
}

/** A server (or a cluster of three) and two copies of every service, each in its own process. */
export class Site {
  readonly dir = mkdtempSync(join(tmpdir(), 'jetlane-chaos-'));
  readonly resiliency: WatchedService[] = [];
  connection!: Connection;
  private readonly platforms: Platform[] = [];
  private single: NatsServer | undefined;
  private several: NatsCluster | undefined;
  private database: Promise<PostgresServer> | undefined;

  private constructor(readonly clustered: boolean) {
    // PostgreSQL runs as another user where the tests run as root.
    chmodSync(this.dir, 0o755);
  }

  static async open(clustered: boolean): Promise<Site> {
    const site = new Site(clustered);
    try {
      await site.start();
      return site;
    } catch (error) {
      await site.close();
      throw error;
    }
  }

  get url(): string {
    return this.several?.url ?? this.single!.url;
  }

  /** The one server. */
  get server(): NatsServer {
    return this.single!;
  }

  get servers(): readonly NatsServer[] {
    return this.several?.servers ?? [this.single!];
  }

  get replicas(): number {
    return this.clustered ? 3 : 1;
  }

  /** All copies of all services. */
  get everything(): ServiceProcess[] {
    return SERVICE_NAMES.flatMap((name) => this.services(name));
  }

  /** Both copies of a service. */
  services(name: ServiceName): ServiceProcess[] {
    if (name === 'resiliency') return this.resiliency.map(({ service }) => service);
    return [this.platforms[0]!.services.get(name)!, this.platforms[0]!.services.get(`${name}-2`)!];
  }

  /** Lets both copies of a service stand still, or go on. */
  pause(name: ServiceName, still: boolean): void {
    for (const service of this.services(name)) service.kill(still ? 'SIGSTOP' : 'SIGCONT');
  }

  /** Resolves when every node takes part. */
  async healthy(): Promise<void> {
    await this.several?.healthy();
  }

  postgres(): Promise<PostgresServer> {
    this.database ??= startPostgres({ dataDir: join(this.dir, 'postgres'), durable: true });
    return this.database;
  }

  async close(): Promise<void> {
    await this.connection?.close();
    await Promise.all(this.platforms.map((platform) => platform.stop()));
    await Promise.all(this.resiliency.map(({ proxy }) => proxy.close()));
    await (await this.database?.catch(() => undefined))?.stop();
    await this.several?.stop();
    await this.single?.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  private async start(): Promise<void> {
    if (this.clustered) this.several = await startNatsCluster();
    else this.single = await startNatsServer();
    this.connection = await connect({ servers: this.url, namespace: NAMESPACE, replicas: this.replicas });
    const rest = SERVICE_NAMES.filter((name) => name !== 'resiliency');
    await this.platform('services', rest, 2, this.url);
    await Promise.all([1, 2].map((copy) => this.watched(copy)));
  }

  private async platform(dir: string, names: readonly string[], copies: number, url: string): Promise<Platform> {
    const platform = await startPlatform({
      ports: 'random',
      dataDir: join(this.dir, dir),
      services: SERVICES.filter(({ name }) => names.includes(name)),
      replicas: Object.fromEntries(names.map((name) => [name, copies])),
      namespace: NAMESPACE,
      env: { NATS_URL: url, DATABASE_URL: NO_DATABASE, JETLANE_REPLICAS: String(this.replicas) },
    });
    this.platforms.push(platform);
    return platform;
  }

  private async watched(copy: number): Promise<void> {
    // In a cluster the client learns the other addresses and would go round the proxy: there it sees one link only.
    const proxy = await LinkProxy.open(this.servers[copy - 1]?.url ?? this.url);
    const url = this.clustered ? this.url : proxy.url;
    const platform = await this.platform(`resiliency-${copy}`, ['resiliency'], 1, url);
    this.resiliency.push({ service: platform.services.get('resiliency')!, proxy });
  }
}
