import { setMaxListeners } from 'node:events';
import { callService, isLoopback, type ServiceContext, type ServiceOptions } from '@jetlane/nestjs/service';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { Logger } from 'pino';
import { ApiKeys } from './access/api-keys.js';
import { Gatekeeper } from './access/gatekeeper.js';
import { RateLimits } from './access/rate-limits.js';
import { Tokens } from './access/tokens.js';
import { type GatewayConfig, readGatewayConfig } from './config.js';
import { EnqueueCounter } from './enqueue-counter.js';
import { bufferedAccessLog } from './http/access-log.js';
import { configureHttp } from './http/configure.js';
import { answerFrameworkError } from './http/framework-error.js';
import { serveDocs } from './openapi/serve-docs.js';
import { BodyBudget } from './overload/body-budget.js';
import { BrokerWatch } from './overload/broker-watch.js';
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
  let parts: Parts | undefined;
  const partsOf = (context: ServiceContext<GatewayConfig>): Parts => {
    parts ??= createParts(context);
    return parts;
  };
  return {
    config,
    // Node's limit would cut long batches; BodyDeadline keeps that of the other routes.
    // A task id has up to 193 characters.
    fastify: ({ headersTimeoutMs, idleTimeoutMs, access }) => ({
      frameworkErrors: answerFrameworkError,
      requestTimeout: 0,
      headersTimeout: headersTimeoutMs,
      keepAliveTimeout: idleTimeoutMs,
      routerOptions: { maxParamLength: 600 },
      ...(access.trustedProxies.length > 0 ? { trustProxy: [...access.trustedProxies] } : {}),
    }),
    guardsHost: true,
    activeSpans: false,
    components: (context) => {
      const { producers, keys, tokens, broker } = partsOf(context);
      const streams = { start: async () => undefined, stop: async () => closing.abort() };
      return [producers, keys, ...(tokens ? [tokens] : []), broker, streams];
    },
    configureApp: (app, context) => configureGateway(app, context, partsOf(context), accessLog ?? accessLogOf(context), closing.signal),
  };
}

/** What a gateway is made of, beside its routes. */
interface Parts {
  readonly producers: Producers;
  readonly keys: ApiKeys;
  readonly tokens: Tokens | undefined;
  readonly broker: BrokerWatch;
}

function createParts({ config, connection, health, logger }: ServiceContext<GatewayConfig>): Parts {
  const { keys, tokens } = config.access;
  return {
    producers: new Producers(connection, config.nats, config.pool),
    keys: new ApiKeys(keys, logger),
    tokens: tokens && new Tokens(tokens, logger),
    broker: new BrokerWatch(connection, health, logger),
  };
}

async function configureGateway(
  app: NestFastifyApplication,
  context: ServiceContext<GatewayConfig>,
  { producers, keys, tokens, broker }: Parts,
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
    broker,
    stats,
    logger,
    counter: new EnqueueCounter(meter),
    closing,
  };
  const routes = apiRoutes(gateway);
  const gatekeeper = new Gatekeeper({ keys, tokens, limits: new RateLimits(config.access.limits) });
  configureHttp(app, {
    routes,
    accessLog,
    logger,
    gatekeeper,
    bodies: new BodyBudget(),
    bodyTimeoutMs: config.bodyTimeoutMs,
    loopback: isLoopback(config.host),
  });
  serveDocs(app, routes, gatekeeper.closed);
  await servePage(app, config.pageDir);
}

/** People read every line at once; machines get lines whose writes are gathered. */
function accessLogOf({ config, logger }: ServiceContext): Logger {
  return config.logFormat === 'pretty' ? logger : bufferedAccessLog({ level: config.logLevel, service: config.name });
}
