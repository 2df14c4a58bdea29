import { JetlaneError } from '@jetlane/protocol';
import type { FastifyRequest } from 'fastify';

const LOOPBACK = /^(localhost|([a-z0-9-]+\.)+localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/i;

/**
 * Guards a gateway that trusts everybody on this machine against web pages in its browsers: a page whose name was
 * re-bound to 127.0.0.1 shows in `Host`, a foreign page that posts here shows in `Origin`.
 * @throws JetlaneError `forbidden`
 */
export function guardLoopback({ headers }: Pick<FastifyRequest, 'headers'>): void {
  const { host, origin } = headers;
  if (!host || !LOOPBACK.test(host)) {
    throw new JetlaneError(
      'forbidden',
      'the Host header does not name this machine; use http://localhost or http://127.0.0.1, or set HOST and JETLANE_API_KEYS to serve others',
    );
  }
  if (origin !== undefined && !LOOPBACK.test(origin.replace(/^https?:\/\//i, ''))) {
    throw new JetlaneError('forbidden', 'pages of other origins may not use this gateway');
  }
}
