import { ERROR_CODES } from '@jetlane/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { knownError, PROBLEM_CONTENT_TYPE, retryAfter, toProblem } from './problem.js';

/** Answers any thrown value with a problem document; what nobody expected is logged with its stack. */
export function sendProblem(thrown: unknown, request: FastifyRequest, reply: FastifyReply, logger: Logger): void {
  const error = knownError(thrown);
  const { status } = ERROR_CODES[error.code];
  if (status === 500) logger.error({ request: request.id, route: request.routeOptions.url, err: error.cause ?? error }, 'http:failed');
  const seconds = retryAfter(error);
  if (seconds !== undefined) reply.header('retry-after', String(seconds));
  if (status === 401) reply.header('www-authenticate', 'Bearer realm="jetlane"');
  void reply
    .code(status)
    .header('content-type', PROBLEM_CONTENT_TYPE)
    .send(JSON.stringify(toProblem(error, { url: request.url, id: request.id })));
}
