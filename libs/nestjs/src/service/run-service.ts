import 'reflect-metadata';
import { JetlaneError } from '@jetlane/protocol';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { Logger } from 'pino';
import { JetStreamServer } from '../transport/index.js';
import { endRestingConnections } from './closing-connections.js';
import { isLoopback, type ServiceConfig } from './config.js';
import type { Component, ServiceContext, ServiceOptions } from './context.js';
import { HealthRegistry } from './health-registry.js';
import { guardHost } from './host-guard.js';
import { observeHttp } from './http-metrics.js';
import { createLogger, NestLogger } from './logger.js';
import { ServiceMetrics } from './metrics.js';
import { connectToNats, followConnection } from './nats-connection.js';
import { observeConnection, observeRuntime } from './runtime-metrics.js';
import { serviceModule } from './service.module.js';
import { ShutdownOnSignal } from './shutdown.js';
import { explainStartError } from './start-error.js';
import { StartingServer } from './starting-server.js';
import { readTls, reloadTls } from './tls.js';
import { startTracing } from './tracing.js';
import { FileWatch } from './watch-files.js';

const SHUTDOWN_TIMEOUT_MS = 25_000;
/** Requests may take this part of the time that a stop may take; what is left is for the rest of it. */
const REQUESTS_SHARE = 0.6;
const BODY_LIMIT = 1_048_576;
/** Who holds a connection without using it loses it. All in ms. */
const TIMEOUTS = {
  /** Silence on a connection: longer than the longest wait for an outcome (60 s), during which nothing is sent. */
  connectionTimeout: 120_000,
  /** Between requests: longer than proxies keep theirs (60 s as a rule), so that none sends into a closing connection. */
  keepAliveTimeout: 72_000,
  /** A whole request with its body. */
  requestTimeout: 30_000,
} as const;
/** Headers, also the first ones of a new connection. */
const HEADERS_TIMEOUT_MS = 30_000;
/** Node looks at its limits every 30 s unless told. */
const CHECK_MS = 5_000;

/** A service that runs. */
export interface RunningService<C extends ServiceConfig = ServiceConfig> {
  readonly context: ServiceContext<C>;
  readonly app: NestFastifyApplication;
  /** Base URL of its HTTP server. */
  readonly url: string;
  /** Stops it gracefully. */
  stop(): Promise<void>;
  /** Cuts a stop short; false when no component can. */
  abort(): boolean;
}

/**
 * Runs a service as a process of its own: starts it, and stops it on SIGTERM or SIGINT. An error that an operator can mend
 * (a taken port, a wrong variable) is told in one sentence; the process then ends with code 1.
 */
export async function runService<C extends ServiceConfig>(options: ServiceOptions<C>): Promise<void> {
  const config = readConfig(options.config);
  const logger = createLogger(config);
  const signals = new ShutdownOnSignal(logger, options.shutdownTimeoutMs ?? SHUTDOWN_TIMEOUT_MS, async () => undefined);
  process.on('uncaughtExceptionMonitor', (err) => logger.fatal({ err }, 'service:crashed'));
  try {
    const service = await startService({ ...options, config }, logger);
    signals.replace(
      () => service.stop(),
      () => service.abort(),
    );
  } catch (error) {
    // Whatever fails after the signal to stop fails because of it; the signal's handler ends the process.
    if (!signals.begun) exitWithError(error, config, logger);
  }
}

function readConfig<C extends ServiceConfig>(config: C | (() => C)): C {
  try {
    return typeof config === 'function' ? config() : config;
  } catch (error) {
    if (!(error instanceof JetlaneError)) throw error;
    // There is no logger yet: its settings may be what is wrong.
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  }
}

function exitWithError(error: unknown, config: ServiceConfig, logger: Logger): never {
  const reason = explainStartError(error, config);
  if (reason) logger.fatal({ reason, code: (error as { code?: unknown }).code }, 'service:failed');
  else logger.fatal({ err: error }, 'service:failed');
  process.exit(1);
}

/** Starts a service inside this process, for tests; it does not listen for signals. */
export async function startService<C extends ServiceConfig>(options: ServiceOptions<C>, givenLogger?: Logger): Promise<RunningService<C>> {
  const config = typeof options.config === 'function' ? options.config() : options.config;
  const logger = givenLogger ?? createLogger(config);
  for (const notice of config.notices ?? []) logger.warn({ notice }, 'configuration:outdated');
  const tlsWatch = config.tls && new FileWatch([config.tls.certFile, config.tls.keyFile]);
  const starting = await StartingServer.listen(config);
  const port = starting.port;
  const telemetry = startTelemetry(config, options.activeSpans ?? true);
  const cleanUp = async (): Promise<void> => {
    tlsWatch?.stop();
    await Promise.all([starting.close(), telemetry.stop()]);
  };
  try {
    const context = await createContext(config, logger, telemetry.metrics);
    const components = await createComponents(options, context);
    const app = await startApp(options, context, components);
    await listen(app, starting, { port, host: config.host });
    const url = `${config.tls ? 'https' : 'http'}://${config.host.includes(':') ? `[${config.host}]` : config.host}:${port}`;
    if (config.tls && tlsWatch) reloadTls(app.getHttpServer(), config.tls, tlsWatch, logger);
    logger.info({ url }, 'service:started');
    const stop = (): Promise<void> => closeInTime(app, options, logger).finally(cleanUp);
    return { context, app, url, stop, abort: () => abortAll(components) };
  } catch (error) {
    await cleanUp();
    throw error;
  }
}

/** Answers what is under way, but not for ever: who sends a body without an end, or reads no answer, is cut off. */
async function closeInTime(
  app: NestFastifyApplication,
  { shutdownTimeoutMs = SHUTDOWN_TIMEOUT_MS }: Pick<ServiceOptions, 'shutdownTimeoutMs'>,
  logger: Logger,
): Promise<void> {
  const cut = setTimeout(() => {
    logger.warn('service:connections-cut');
    app.getHttpServer().closeAllConnections();
  }, shutdownTimeoutMs * REQUESTS_SHARE);
  await app.close().finally(() => clearTimeout(cut));
}

function startTelemetry(config: ServiceConfig, activeSpans: boolean): { metrics: ServiceMetrics; stop: () => Promise<void> } {
  const stopTracing = startTracing(config, activeSpans);
  const metrics = new ServiceMetrics(config.name);
  const stopRuntime = observeRuntime(metrics.meter);
  const stop = async (): Promise<void> => {
    stopRuntime();
    await Promise.all([stopTracing?.(), metrics.stop()]);
  };
  return { metrics, stop };
}

async function createContext<C extends ServiceConfig>(config: C, logger: Logger, metrics: ServiceMetrics): Promise<ServiceContext<C>> {
  const connection = await connectToNats(config, logger);
  const context: ServiceContext<C> = { config, connection, logger, health: new HealthRegistry(), meter: metrics.meter, metrics };
  followConnection(connection, logger, context.health);
  observeConnection(metrics.meter, connection);
  return context;
}

/** Between the two servers the port is nobody's for less than a millisecond. */
async function listen(app: NestFastifyApplication, starting: StartingServer, address: { port: number; host: string }): Promise<void> {
  try {
    await starting.close();
    await app.listen(address);
  } catch (error) {
    await app.close();
    throw error;
  }
}

async function createComponents<C extends ServiceConfig>(options: ServiceOptions<C>, context: ServiceContext<C>): Promise<Component[]> {
  try {
    return await options.components(context);
  } catch (error) {
    await context.connection.close();
    throw error;
  }
}

function serverOptions<C extends ServiceConfig>({ bodyLimit = BODY_LIMIT, fastify }: ServiceOptions<C>, config: C) {
  const { headersTimeout = HEADERS_TIMEOUT_MS, ...given } = (typeof fastify === 'function' ? fastify(config) : fastify) ?? {};
  const limits = { headersTimeout, connectionsCheckingInterval: Math.min(CHECK_MS, headersTimeout / 2) };
  return {
    bodyLimit,
    forceCloseConnections: 'idle',
    ...TIMEOUTS,
    ...given,
    ...(config.tls ? { https: { ...readTls(config.tls), ...limits } } : { http: limits }),
  } as const;
}

function abortAll(components: readonly Component[]): boolean {
  for (const component of components) component.abort?.();
  return components.some(({ abort }) => abort !== undefined);
}

function readEvents(app: NestFastifyApplication, { connection, config }: ServiceContext): void {
  app.connectMicroservice({ strategy: new JetStreamServer({ connection, service: config.name }) });
}

async function startApp<C extends ServiceConfig>(
  options: ServiceOptions<C>,
  context: ServiceContext<C>,
  components: Component[],
): Promise<NestFastifyApplication> {
  let app: NestFastifyApplication | undefined;
  try {
    const module = serviceModule(context, components, options.module?.(context));
    const adapter = new FastifyAdapter(serverOptions(options, context.config));
    app = await NestFactory.create<NestFastifyApplication>(module, adapter, {
      logger: new NestLogger(context.logger),
      abortOnError: false,
    });
    endRestingConnections(adapter.getInstance());
    observeHttp(adapter.getInstance(), context.meter);
    if (isLoopback(context.config.host) && !options.guardsHost) guardHost(adapter.getInstance());
    await options.configureApp?.(app, context);
    if (options.readsEvents) readEvents(app, context);
    await app.init();
    await app.startAllMicroservices();
    return app;
  } catch (error) {
    await app?.close().catch(() => undefined);
    await context.connection.close();
    throw error;
  }
}
