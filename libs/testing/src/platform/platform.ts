import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { NatsServer } from '../nats-server/server.js';
import type { PostgresServer } from '../postgres/server.js';
import { assertPortsFree, type WantedPort } from '../process/ports.js';
import { reclaimRun, removeRunRecord, writeRunRecord } from '../process/run-record.js';
import { assertWritable } from './data-dir.js';
import { type Infrastructure, type InfrastructureOptions, provideNats, providePostgres } from './infrastructure.js';
import { type CompiledOptions, compileOptions, type PlatformOptions, replicaNames } from './options.js';
import { ServiceProcess } from './service-process.js';

/** Where the platform can be reached. */
export interface PlatformUrls {
  gateway: string;
  nats: string;
  /** Complete with its password. */
  database: string;
}

/**
 * Starts nats-server (unless NATS_URL is set), PostgreSQL (unless DATABASE_URL is set) and all services, and resolves when
 * every one of them is ready. When one cannot be started, everything is stopped again before the error is thrown.
 *
 * @throws LaunchError
 */
export async function startPlatform(options: PlatformOptions = {}): Promise<Platform> {
  const compiled = await compileOptions(options);
  const platform = new Platform(compiled);
  try {
    await platform.start();
    return platform;
  } catch (error) {
    await platform.stop();
    throw error;
  }
}

/** A running platform. States: starting → running → stopping → stopped; started once, by {@link startPlatform}. */
export class Platform {
  /** By name; the second process of a service is `worker-2`. */
  readonly services = new Map<string, ServiceProcess>();
  #nats: Infrastructure<NatsServer> | undefined;
  #postgres: Infrastructure<PostgresServer> | undefined;
  #stopping: Promise<void> | undefined;
  #owned = false;

  /** Use {@link startPlatform}. */
  constructor(private readonly options: CompiledOptions) {}

  /** The embedded nats-server, unless NATS_URL named another. */
  get nats(): NatsServer | undefined {
    return this.#nats?.server;
  }

  /** The embedded PostgreSQL, unless DATABASE_URL named another. */
  get postgres(): PostgresServer | undefined {
    return this.#postgres?.server;
  }

  get urls(): PlatformUrls {
    return { gateway: this.services.get('gateway')?.url ?? '', nats: this.#nats?.url ?? '', database: this.#postgres?.url ?? '' };
  }

  /** Called once, by {@link startPlatform}. */
  async start(): Promise<void> {
    assertWritable(this.options.dataDir);
    mkdirSync(this.options.runDir, { recursive: true });
    await this.#claimDataDir();
    await this.#endLeftovers();
    await assertPortsFree(this.#wantedPorts());
    const servers = await Promise.allSettled([
      provideNats(this.#infrastructure('nats')),
      providePostgres(this.#infrastructure('postgres')),
    ]);
    const [nats, postgres] = servers;
    if (nats.status === 'fulfilled') this.#nats = nats.value;
    if (postgres.status === 'fulfilled') this.#postgres = postgres.value;
    for (const server of servers) if (server.status === 'rejected') throw server.reason;
    await this.#startServices();
  }

  /** Services first, so that they can settle what they hold; then PostgreSQL, then NATS. May be called any number of times. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** The last resort of an impatient user: everything gets SIGKILL at once. */
  kill(): void {
    for (const service of this.services.values()) service.kill('SIGKILL');
    this.postgres?.kill('SIGQUIT');
    this.nats?.kill('SIGKILL');
  }

  async #stop(): Promise<void> {
    const before = performance.now();
    const somethingRan = this.#nats !== undefined || this.#postgres !== undefined;
    if (somethingRan) this.options.emit({ type: 'platform:stopping' });
    await Promise.all([...this.services.values()].map((service) => service.stop()));
    await this.#postgres?.stop();
    await this.#nats?.stop();
    if (this.#owned) removeRunRecord(this.#recordFile, process.pid);
    if (somethingRan) this.options.emit({ type: 'platform:stopped', tookMs: performance.now() - before });
  }

  get #recordFile(): string {
    return join(this.options.runDir, 'platform.json');
  }

  /** One platform per data folder. */
  async #claimDataDir(): Promise<void> {
    await reclaimRun(this.#recordFile, 'Jetlane');
    writeRunRecord(this.#recordFile, process.pid);
    this.#owned = true;
  }

  /** What a killed platform left running (the lifeline was killed as well) holds the ports that we want. */
  async #endLeftovers(): Promise<void> {
    const { services, replicas, runDir, dataDir } = this.options;
    const names = replicaNames(services, replicas).map(({ name }) => ({
      name,
      file: join(runDir, `${name}.json`),
      signal: 'SIGTERM' as const,
    }));
    await Promise.all(names.map(({ name, file, signal }) => reclaimRun(file, name, signal)));
    await reclaimRun(join(dataDir, 'postgres', 'run.json'), 'The embedded PostgreSQL', 'SIGINT');
    await reclaimRun(join(dataDir, 'nats', 'run.json'), 'nats-server');
  }

  #wantedPorts(): WantedPort[] {
    const { env, services, replicas } = this.options;
    const wanted = replicaNames(services, replicas).map(({ name, spec }) => ({ name, port: this.#port(name), env: spec.portEnv }));
    if (!env.NATS_URL) wanted.push({ name: 'nats-server', port: this.#port('nats'), env: 'NATS_PORT' });
    if (!env.DATABASE_URL) wanted.push({ name: 'PostgreSQL', port: this.#port('postgres'), env: 'POSTGRES_PORT' });
    return wanted;
  }

  #infrastructure(name: 'nats' | 'postgres'): InfrastructureOptions {
    const { env, dataDir, logDir, emit, restart, resolve } = this.options;
    const url = (name === 'nats' ? env.NATS_URL : env.DATABASE_URL) || undefined;
    return { url, port: this.#port(name), dataDir, logDir, emit, restart, resolve };
  }

  /** Those marked `first` one after the other; the rest, which need what those create, all at once. */
  async #startServices(): Promise<void> {
    const { services, replicas } = this.options;
    const processes = replicaNames(services, replicas).map(({ name, spec }) => ({ spec, service: this.#service(name, spec) }));
    for (const { service } of processes) this.services.set(service.name, service);
    for (const { spec, service } of processes) if (spec.first) await service.start();
    const started = await Promise.allSettled(processes.filter(({ spec }) => !spec.first).map(({ service }) => service.start()));
    for (const result of started) if (result.status === 'rejected') throw result.reason;
  }

  #service(name: string, spec: CompiledOptions['services'][number]): ServiceProcess {
    const { env, root, logDir, runDir, emit, restart } = this.options;
    const port = this.#port(name);
    const { nats, database } = this.urls;
    return new ServiceProcess({
      spec,
      name,
      port,
      host: reachableHost(env.HOST),
      root,
      env: { ...env, [spec.portEnv]: String(port), NATS_URL: nats, DATABASE_URL: database },
      logFile: join(logDir, `${name}.log`),
      recordFile: join(runDir, `${name}.json`),
      emit,
      restart,
    });
  }

  #port(name: string): number {
    const port = this.options.ports.get(name);
    if (port === undefined) throw new Error(`no port was chosen for ${name}`);
    return port;
  }
}

/** "All addresses" can be listened on, but not connected to. */
function reachableHost(host: string | undefined): string {
  return host === undefined || host === '' || host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
}
