import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import type { Caller } from '../access/caller.js';
import type { Gatekeeper } from '../access/gatekeeper.js';
import type { BodyBudget } from '../overload/body-budget.js';
import type { ApiRoute } from '../routes/route.js';
import { logAccess } from './access-log.js';
import { readJsonBodies, refuseEncodings, streamBodies } from './bodies.js';
import { BodyDeadline } from './body-deadline.js';
import { answerClientErrors } from './client-errors.js';
import { sendProblem } from './error-handler.js';
import { guardLoopback } from './loopback-guard.js';
import { ProblemFilter } from './problem-filter.js';
import { requestIds } from './request-id.js';
import { setSecurityHeaders } from './security-headers.js';
import { traceRequests } from './trace.js';

export interface HttpOptions {
  readonly routes: readonly ApiRoute[];
  readonly logger: Logger;
  readonly accessLog: Logger;
  readonly gatekeeper: Gatekeeper;
  readonly bodies: BodyBudget;
  /** Longest time that the body of a request may take, ms; not of a route that streams. */
  readonly bodyTimeoutMs: number;
  /** The server is bound to a loopback address. */
  readonly loopback: boolean;
}

/** Sets up everything between the socket and the routes: ids, log, headers, guards, bodies, errors. */
export function configureHttp(app: NestFastifyApplication, options: HttpOptions): void {
  const fastify = app.getHttpAdapter().getInstance() as unknown as FastifyInstance;
  const { logger } = options;
  answerClientErrors(fastify.server);
  fastify.setGenReqId(requestIds());
  new BodyDeadline(fastify.server, options.bodyTimeoutMs).watch(fastify, streamingUrls(options.routes));
  addHooks(fastify, options);
  app.useGlobalFilters(new ProblemFilter(logger));
  void fastify.register(async (scope) => addRoutes(scope, options, readJsonBodies, (route) => !route.streams));
  void fastify.register(async (scope) => addRoutes(scope, options, streamBodies, (route) => route.streams === true));
}

const streamingUrls = (routes: readonly ApiRoute[]): Set<string> =>
  new Set(routes.filter(({ streams }) => streams).map(({ url, path }) => url ?? path));

function addHooks(fastify: FastifyInstance, { accessLog, gatekeeper, loopback, logger }: HttpOptions): void {
  // A key is what no foreign page has; and a proxy in front, which makes keys necessary, may pass on its own name.
  const guarded = loopback && !gatekeeper.closed;
  fastify.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    setSecurityHeaders(request.url, reply);
    // Nothing here is upgraded to; on such a connection Node no longer reports a next request that is not HTTP.
    if (request.headers.upgrade !== undefined) reply.header('connection', 'close');
    if (!guarded) return done();
    try {
      guardLoopback(request);
      done();
    } catch (error) {
      sendProblem(error, request, reply, logger);
    }
  });
  fastify.addHook('onResponse', (request, reply, done) => {
    logAccess(accessLog, request, reply);
    done();
  });
}

function addRoutes(
  scope: FastifyInstance,
  options: HttpOptions,
  readBodies: (scope: FastifyInstance) => void,
  mine: (route: ApiRoute) => boolean,
): void {
  readBodies(scope);
  scope.setErrorHandler((error, request, reply) => sendProblem(error, request, reply, options.logger));
  scope.decorateRequest('caller', null as unknown as Caller);
  scope.addHook('onRequest', async (request, reply) => {
    await options.gatekeeper.admit(request, reply);
    refuseEncodings(request);
  });
  // Only what was let in: strangers must neither decide what is sampled, nor fill the exporter's line in front of real traces.
  traceRequests(scope);
  // Streamed bodies are never held as a whole.
  if (readBodies === readJsonBodies) options.bodies.watch(scope);
  for (const { method, path, url, scope: needed, handler } of options.routes.filter(mine)) {
    const counted = options.bodies.around(handler);
    scope.route({ method, url: url ?? path, handler: counted, exposeHeadRoute: false, config: { scope: needed } });
  }
}
