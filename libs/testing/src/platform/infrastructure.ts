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
    emit({ type: 'nats:ready', url: shown, version, embedded: false, tookMs: performance.now() - before, restarts: 0 });
    return { url, server: undefined, stop: () => Promise.resolve() };
  }
  const log = (text: string) => emit({ type: 'notice', text });
  const binary = await resolveNatsServer({ log, ...options.resolve });
  const storeDir = join(options.dataDir, 'nats');
  const logFile = join(options.logDir, 'nats-server.log');
  const server = await startNatsServer({ binary: binary.path, port, storeDir, logFile });
  const { version } = binary;
  const ready: Ready = (tookMs, restarts) => emit({ type: 'nats:ready', url: server.url, version, embedded: true, tookMs, restarts });
  ready(performance.now() - before, 0);
  return { url: server.url, server, stop: supervised('nats-server', server, options, ready) };
}

/** The embedded PostgreSQL, or the database that DATABASE_URL names. */
export async function providePostgres(options: InfrastructureOptions): Promise<Infrastructure<PostgresServer>> {
  const { url, port, emit } = options;
  const before = performance.now();
  if (url !== undefined) {
    emit({ type: 'postgres:ready', url: withoutPassword(url), version: '', embedded: false, tookMs: 0, restarts: 0 });
    return { url, server: undefined, stop: () => Promise.resolve() };
  }
  const logFile = join(options.logDir, 'postgres.log');
  const log = (text: string) => emit({ type: 'notice', text });
  const server = await startPostgres({ port, dataDir: join(options.dataDir, 'postgres'), logFile, log });
  const { version } = server;
  const shown = withoutPassword(server.url);
  const ready: Ready = (tookMs, restarts) => emit({ type: 'postgres:ready', url: shown, version, embedded: true, tookMs, restarts });
  ready(performance.now() - before, 0);
  return { url: server.url, server, stop: supervised('postgres', server, options, ready) };
}

/** Tells that a server is ready, for the first time or after a restart. */
type Ready = (tookMs: number, restarts: number) => void;

/** Restarts a server of ours when it dies, and tells when it is ready again; returns what stops it. */
function supervised(name: string, server: NatsServer | PostgresServer, options: InfrastructureOptions, ready: Ready): () => Promise<void> {
  const thing: Restartable = {
    name,
    logFile: server.logFile,
    get exited() {
      return server.exited;
    },
    start: async () => {
      const before = performance.now();
      await server.start();
      ready(performance.now() - before, supervisor.restarts + 1);
    },
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
