import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { ServiceConfig } from './config.js';
import { readTls } from './tls.js';

/**
 * Answers on the service's port until the application does: `/health/live` with 200, everything else with 503. So a process
 * that waits for NATS is alive to its supervisor, and a port that is taken is found at once.
 */
export class StartingServer {
  private constructor(private readonly server: Server) {}

  /** @throws the listen error, as in `EADDRINUSE` */
  static listen({ host, port, tls }: Pick<ServiceConfig, 'host' | 'port' | 'tls'>): Promise<StartingServer> {
    const answer: RequestListener = (request, response) => {
      const live = request.url === '/health/live';
      response.writeHead(live ? 200 : 503, {
        'content-type': 'application/json',
        connection: 'close',
        ...(live ? {} : { 'retry-after': '1' }),
      });
      response.end(JSON.stringify(live ? { status: 'ok', info: {}, error: {}, details: {} } : { status: 'starting' }));
    };
    const server = tls ? createTlsServer(readTls(tls), answer) : createServer(answer);
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, () => resolve(new StartingServer(server)));
    });
  }

  /** The port, also when any free one was asked for. */
  get port(): number {
    const address = this.server.address();
    return typeof address === 'object' && address ? address.port : 0;
  }

  /** Frees the port. */
  close(): Promise<void> {
    if (!this.server.listening) return Promise.resolve();
    return new Promise((resolve) => {
      this.server.close(() => resolve());
      this.server.closeAllConnections();
    });
  }
}
