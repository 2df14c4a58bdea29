import { type ActiveHttp, activeTracer, isTraceparent, startHttp, type TraceHeaders } from '@jetlane/telemetry';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { pathOf } from './problem.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** The request's span, where traces are exported. */
    span: ActiveHttp | null;
  }
}

/** Longer ones may be dropped (W3C Trace Context); and each task would keep its own. */
const TRACESTATE = /^[\x20-\x7e]{1,512}$/;

/**
 * Gives every request of the scope that comes to this hook a span, until its answer is sent or the caller is gone. Does nothing where no
 * SDK is registered by now.
 */
export function traceRequests(scope: FastifyInstance): void {
  scope.decorateRequest('span', null);
  if (!activeTracer()) return;
  scope.addHook('onRequest', (request, { raw }, done) => {
    // The caller has gone while it was looked at who he is: nothing would end the span.
    if (raw.destroyed) return done();
    const { method, url, protocol, routeOptions } = request;
    const described = { method, route: routeOptions.url ?? 'none', path: pathOf(url), scheme: protocol };
    const span = startHttp(described, callerTrace(request));
    request.span = span ?? null;
    if (span) raw.once('close', () => span.end(raw.headersSent ? raw.statusCode : undefined));
    done();
  });
}

/** What is sent because of a request belongs below its span; without one below the caller's. */
export const traceOfRequest = (request: FastifyRequest): TraceHeaders => request.span ?? callerTrace(request);

/** The caller's place in a trace. A state without one is nobody's; one that is too long, or no plain text, is left out. */
function callerTrace({ headers: { traceparent, tracestate } }: FastifyRequest): TraceHeaders {
  if (typeof traceparent !== 'string' || !isTraceparent(traceparent)) return {};
  return typeof tracestate === 'string' && TRACESTATE.test(tracestate) ? { traceparent, tracestate } : { traceparent };
}
