import type { FastifyInstance } from 'fastify';

const LOOPBACK_HOST = /^(localhost|([a-z0-9-]+\.)+localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/i;

/** True for a `Host` header that names this machine, with any port. */
export function namesThisMachine(host: string | undefined): boolean {
  return host !== undefined && LOOPBACK_HOST.test(host);
}

/**
 * Guards a server that trusts everybody on this machine against web pages in its browsers: a page whose name was re-bound
 * to 127.0.0.1 (DNS rebinding) shows in `Host`.
 */
export function guardHost(fastify: FastifyInstance): void {
  fastify.addHook('onRequest', (request, reply, done) => {
    if (namesThisMachine(request.headers.host)) return done();
    reply.code(403).type('text/plain; charset=utf-8').send('the Host header does not name this machine; use localhost or 127.0.0.1\n');
  });
}
