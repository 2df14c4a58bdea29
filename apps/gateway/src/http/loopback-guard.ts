import { namesThisMachine } from '@jetlane/nestjs/service';
import { JetlaneError } from '@jetlane/protocol';
import type { FastifyRequest } from 'fastify';

/**
 * Guards a gateway that trusts everybody on this machine against web pages in its browsers: a page whose name was
 * re-bound to 127.0.0.1 shows in `Host`, a foreign page that posts here shows in `Origin`.
 * @throws JetlaneError `forbidden`
 */
export function guardLoopback({ headers }: Pick<FastifyRequest, 'headers'>): void {
  const { host, origin } = headers;
  if (!namesThisMachine(host)) {
    throw new JetlaneError(
      'forbidden',
      'the Host header does not name this machine; use http://localhost or http://127.0.0.1, or set JETLANE_API_KEYS to serve others, such as a proxy that passes on its own name',
    );
  }
  if (origin !== undefined && !namesThisMachine(origin.replace(/^https?:\/\//i, ''))) {
    throw new JetlaneError('forbidden', 'pages of other origins may not use this gateway');
  }
}
