import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';

/** Node's own code for a request that took too long: `clientError` answers it with 408. */
const timeout = (): Error => Object.assign(new Error('the body was not complete in time'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' });

interface Reading {
  readonly since: number;
  readonly response: ServerResponse;
}

/**
 * Cuts connections whose bodies are not complete in time. Node's `requestTimeout` would do so for all of a server's routes;
 * here those that stream may take any time until they have answered (they watch for silence themselves).
 *
 * One sweep for all requests: a timer for each would cost more than the rest of the hook.
 */
export class BodyDeadline {
  private readonly reading = new Map<IncomingMessage, Reading>();

  constructor(
    private readonly server: Server,
    private readonly limitMs: number,
  ) {}

  /** @param streaming URLs of the routes that read their bodies as streams */
  watch(fastify: FastifyInstance, streaming: ReadonlySet<string>): void {
    const sweep = setInterval(() => this.sweep(), Math.max(10, this.limitMs / 10)).unref();
    fastify.addHook('onRequest', ({ raw, routeOptions }, reply, done) => {
      if (!streaming.has(routeOptions.url ?? '')) this.reading.set(raw, { since: performance.now(), response: reply.raw });
      done();
    });
    // What is still sent after the answer is read for as long again, so that the caller comes to see the answer.
    fastify.addHook('onResponse', ({ raw }, reply, done) => {
      if (raw.complete) this.reading.delete(raw);
      else if (!this.reading.has(raw)) this.reading.set(raw, { since: performance.now(), response: reply.raw });
      done();
    });
    fastify.addHook('onClose', (_instance, done) => {
      clearInterval(sweep);
      done();
    });
  }

  private sweep(): void {
    const oldest = performance.now() - this.limitMs;
    for (const [request, { since, response }] of this.reading) {
      if (request.complete || request.socket.destroyed) this.reading.delete(request);
      else if (since < oldest) this.cut(request, response);
    }
  }

  private cut(request: IncomingMessage, response: ServerResponse): void {
    this.reading.delete(request);
    const { socket } = request;
    if (!response.headersSent && socket.writable) this.server.emit('clientError', timeout(), socket);
    socket.destroySoon();
  }
}
