import { join } from 'node:path';
import { checkNatsUrl, withoutPassword } from '../nats-server/probe.js';
import { type ResolveOptions, resolveNatsServer } from '../nats-server/resolve.js';
import { type NatsServer, startNatsServer } from '../nats-server/server.js';
import { type PostgresServer, startPostgres } from '../postgres/server.js';
import { tailLog } from '../process/log-file.js';
import type { PlatformListener } from './events.js';
import { type Restartable, Supervisor } from './supervisor.js';

/** A server that the services need: one that we run, or one that somebody else runs. */
export interface Infrastructure<Server> {
  url: string;
  /** Undefined: somebody else's. */
  server: Server | undefined;
  stop(): Promise<void>;
}

/** How to get one. */
export interface InfrastructureOptions {
  /** Somebody else's server; then nothing is started. */
  url: string | undefined;
  port: number;
  dataDir: string;
  logDir: string;
  emit: PlatformListener;
  restart: boolean;
  resolve?: ResolveOptions;
}

/** The embedded nats-server, or the one that NATS_URL names. */
export async function provideNats(options: InfrastructureOptions): Promise<Infrastructure<NatsServer>> {
  const { url, port, emit } = options;
  const before = performance.now();
  if (url !== undefined) {
    const { version } = await checkNatsUrl(url);
    const shown = url.split(',').map(withoutPassword).join(',');
    emit({ type: 'nats:ready', url: shown, version, embedded: false, tookMs: performance.now() - before });
    return { url, server: undefined, stop: () => Promise.resolve() };
  }
  const log = (text: string) => emit({ type: 'notice', text });
  const binary = await resolveNatsServer({ log, ...options.resolve });
  const storeDir = join(options.dataDir, 'nats');
  const logFile = join(options.logDir, 'nats-server.log');
  const server = await startNatsServer({ binary: binary.path, port, storeDir, logFile });
  emit({ type: 'nats:ready', url: server.url, version: binary.version, embedded: true, tookMs: performance.now() - before });
  return { url: server.url, server, stop: supervised('nats-server', server, options) };
}

/** The embedded PostgreSQL, or the database that DATABASE_URL names. */
export async function providePostgres(options: InfrastructureOptions): Promise<Infrastructure<PostgresServer>> {
  const { url, port, emit } = options;
  const before = performance.now();
  if (url !== undefined) {
    emit({ type: 'postgres:ready', url: withoutPassword(url), version: '', embedded: false, tookMs: 0 });
    return { url, server: undefined, stop: () => Promise.resolve() };
  }
  const logFile = join(options.logDir, 'postgres.log');
  const log = (text: string) => emit({ type: 'notice', text });
  const server = await startPostgres({ port, dataDir: join(options.dataDir, 'postgres'), logFile, log });
  const { version } = server;
  emit({ type: 'postgres:ready', url: withoutPassword(server.url), version, embedded: true, tookMs: performance.now() - before });
  return { url: server.url, server, stop: supervised('postgres', server, options) };
}

/** Restarts a server of ours when it dies; returns what stops it. */
function supervised(name: string, server: NatsServer | PostgresServer, options: InfrastructureOptions): () => Promise<void> {
  const thing: Restartable = {
    name,
    logFile: server.logFile,
    get exited() {
      return server.exited;
    },
    start: () => server.start(),
    stop: () => server.stop(),
    tail: () => tailLog(server.logFile, 8),
  };
  const supervisor = new Supervisor(thing, options.emit, options.restart);
  supervisor.watch();
  return async () => {
    const settled = supervisor.release();
    await server.stop();
    await settled;
    await server.stop();
  };
}
