import { TaskClient } from '@jetlane/client';
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
import { apiRoutes } from './routes/index.js';
import type { Gateway } from './routes/route.js';
import { StatsSource } from './stats/source.js';

/** The gateway as a service: the HTTP API, its documentation and the page. */
export function gatewayService(
  config: GatewayConfig | (() => GatewayConfig) = () => readGatewayConfig(),
  accessLog?: Logger,
): ServiceOptions<GatewayConfig> {
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
    components: (context) => {
      const { client, keys, tokens, broker } = partsOf(context);
      return [{ start: () => client.start(), stop: () => client.close() }, keys, ...(tokens ? [tokens] : []), broker];
    },
    configureApp: (app, context) => configureGateway(app, context, partsOf(context), accessLog ?? accessLogOf(context)),
  };
}

/** What a gateway is made of, beside its routes. */
interface Parts {
  readonly client: TaskClient;
  readonly keys: ApiKeys;
  readonly tokens: Tokens | undefined;
  readonly broker: BrokerWatch;
}

function createParts({ config, connection, health, logger }: ServiceContext<GatewayConfig>): Parts {
  const { keys, tokens } = config.access;
  return {
    client: new TaskClient(connection),
    keys: new ApiKeys(keys, logger),
    tokens: tokens && new Tokens(tokens, logger),
    broker: new BrokerWatch(connection, health, logger),
  };
}

async function configureGateway(
  app: NestFastifyApplication,
  context: ServiceContext<GatewayConfig>,
  { client, keys, tokens, broker }: Parts,
  accessLog: Logger,
): Promise<void> {
  const { config, connection, logger, meter } = context;
  const stats = new StatsSource(client, (service, command, input, timeoutMs) =>
    callService(connection, service, command, input, timeoutMs),
  );
  const gateway: Gateway = { client, connection, broker, stats, logger, counter: new EnqueueCounter(meter) };
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
