import type { FastifyReply, FastifyRequest } from 'fastify';
import { type DestinationStream, destination, type Logger, pino, stdTimeFunctions } from 'pino';

/** Bytes gathered before a write: one write per request costs more than the line itself. */
const BUFFER_BYTES = 8192;
/** Lines are written after this long even if the buffer is not full, ms. */
const FLUSH_MS = 250;

export interface AccessLogOptions {
  readonly level: string;
  readonly service: string;
  /** File descriptor or path. Default: standard output. */
  readonly to?: number | string;
}

/** A logger for access lines whose writes are gathered, and flushed when the process ends. A crash loses those of the last {@link FLUSH_MS} ms. */
export function bufferedAccessLog({ level, service, to = 1 }: AccessLogOptions): Logger {
  const stream = destination({ dest: to, sync: false, minLength: BUFFER_BYTES, periodicFlush: FLUSH_MS });
  process.once('exit', () => {
    try {
      stream.flushSync();
    } catch {
      // The reader of our output is gone; there is nobody left to tell.
    }
  });
  const options = {
    level,
    base: { service },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return pino(options, stream as DestinationStream);
}

/** Routes that machines ask every few seconds: their lines are for debugging. */
const PROBES = new Set(['/health/live', '/health/ready', '/metrics']);

/** Writes one line for an answered request: what, how it went, how long. No body, no query, no header. */
export function logAccess(logger: Logger, request: FastifyRequest, reply: FastifyReply): void {
  const route = request.routeOptions.url ?? 'none';
  const { elapsedTime, statusCode: status } = reply;
  const line = { request: request.id, method: request.method, route, status, ms: Math.round(elapsedTime * 100) / 100 };
  if (PROBES.has(route)) logger.debug(line, 'http:request');
  else logger.info(line, 'http:request');
}
