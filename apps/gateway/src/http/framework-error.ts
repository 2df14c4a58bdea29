import { JetlaneError } from '@jetlane/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { PROBLEM_CONTENT_TYPE, toProblem } from './problem.js';
import { setSecurityHeaders } from './security-headers.js';

/** Answers what Fastify refuses before any route or hook is chosen: a path that cannot be decoded. */
export function answerFrameworkError(_error: Error, request: FastifyRequest, reply: FastifyReply): void {
  const error = new JetlaneError('invalid-argument', 'the path cannot be read; percent-encode it as UTF-8', { details: { field: 'path' } });
  setSecurityHeaders(request.url, reply);
  void reply
    .code(400)
    .header('content-type', PROBLEM_CONTENT_TYPE)
    .header('x-request-id', request.id)
    .send(JSON.stringify(toProblem(error, { url: request.url, id: request.id })));
}
