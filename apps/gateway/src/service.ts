import { setMaxListeners } from 'node:events';
import { callService, isLoopback, type ServiceContext, type ServiceOptions } from '@jetlane/nestjs/service';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { Logger } from 'pino';
import { type GatewayConfig, readGatewayConfig } from './config.js';
import { EnqueueCounter } from './enqueue-counter.js';
import { bufferedAccessLog } from './http/access-log.js';
import { configureHttp } from './http/configure.js';
import { answerFrameworkError } from './http/framework-error.js';
import { serveDocs } from './openapi/serve-docs.js';
import { servePage } from './page.js';
import { Producers } from './producers.js';
import { apiRoutes } from './routes/index.js';
import type { Gateway } from './routes/route.js';
import { StatsSource } from './stats/source.js';

/** The gateway as a service: the HTTP API, its documentation and the page. */
export function gatewayService(
  config: GatewayConfig | (() => GatewayConfig) = () => readGatewayConfig(),
  accessLog?: Logger,
): ServiceOptions<GatewayConfig> {
  const closing = new AbortController();
  // Every open event stream listens.
  setMaxListeners(0, closing.signal);
  let producers: Producers | undefined;
  const producersOf = ({ connection, config: { nats, pool } }: ServiceContext): Producers => {
    producers ??= new Producers(connection, nats, pool);
    return producers;
  };
  return {
    config,
    // Node's limit would cut long batches; BodyDeadline keeps that of the other routes.
    // A task id has up to 193 characters.
    fastify: { frameworkErrors: answerFrameworkError, requestTimeout: 0, routerOptions: { maxParamLength: 600 } },
    guardsHost: true,
    components: (context) => [producersOf(context), { start: async () => undefined, stop: async () => closing.abort() }],
    configureApp: (app, context) => configureGateway(app, context, producersOf(context), accessLog ?? accessLogOf(context), closing.signal),
  };
}

async function configureGateway(
  app: NestFastifyApplication,
  context: ServiceContext<GatewayConfig>,
  producers: Producers,
  accessLog: Logger,
  closing: AbortSignal,
): Promise<void> {
  const { config, connection, logger, meter } = context;
  const stats = new StatsSource(producers.main, (service, command, input, timeoutMs) =>
    callService(connection, service, command, input, timeoutMs),
  );
  const gateway: Gateway = {
    // Each use takes the least busy link.
    get client() {
      return producers.next();
    },
    connection,
    stats,
    logger,
    counter: new EnqueueCounter(meter),
    closing,
  };
  const routes = apiRoutes(gateway);
  configureHttp(app, {
    routes,
    accessLog,
    logger,
    apiKeys: config.apiKeys,
    bodyTimeoutMs: config.bodyTimeoutMs,
    loopback: isLoopback(config.host),
  });
  serveDocs(app, routes, config.apiKeys.length > 0);
  await servePage(app, config.pageDir);
}

/** People read every line at once; machines get lines whose writes are gathered. */
function accessLogOf({ config, logger }: ServiceContext): Logger {
  return config.logFormat === 'pretty' ? logger : bufferedAccessLog({ level: config.logLevel, service: config.name });
}
