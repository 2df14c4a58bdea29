import { JetlaneError } from '@jetlane/protocol';
import { type ArgumentsHost, Catch, type ExceptionFilter, NotFoundException } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { sendProblem } from './error-handler.js';
import { pathOf } from './problem.js';

/** Gives the errors of Nest's own routes, and of no route at all, the form of all others. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  constructor(private readonly logger: Logger) {}

  catch(thrown: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    const error = thrown instanceof NotFoundException ? unknownRoute(request) : thrown;
    sendProblem(error, request, http.getResponse<FastifyReply>(), this.logger);
  }
}

/** The error for a path or method that no route has. */
function unknownRoute({ method, url }: FastifyRequest): JetlaneError {
  return new JetlaneError('unknown-route', `there is no route ${method} ${pathOf(url)}; GET /docs lists all of them`);
}
