import { METRICS, TIME_BUCKETS } from '@jetlane/telemetry';
import type { Meter } from '@opentelemetry/api';
import type { FastifyInstance } from 'fastify';

/** Measures every request but those of probes and scrapers. Labels are bounded: the route's pattern, never the path. */
export function observeHttp(fastify: FastifyInstance, meter: Meter): void {
  const { name, unit, description } = METRICS.httpDuration;
  const duration = meter.createHistogram(name, { unit, description, advice: { explicitBucketBoundaries: [...TIME_BUCKETS] } });
  fastify.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'none';
    if (!route.startsWith('/health/') && route !== '/metrics') {
      duration.record(reply.elapsedTime / 1000, {
        'http.request.method': request.method,
        'http.route': route,
        'http.response.status_code': reply.statusCode,
      });
    }
    done();
  });
}
