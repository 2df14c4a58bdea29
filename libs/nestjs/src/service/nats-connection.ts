import { type Connection, connect } from '@jetlane/jetstream';
import type { Logger } from 'pino';
import { hideCredentials, type ServiceConfig } from './config.js';
import type { HealthRegistry } from './health-registry.js';

const WAITING_LOG_MS = 3000;

/** Connects to NATS, however long it takes, and says every few seconds that it waits. */
export async function connectToNats(config: ServiceConfig, logger: Logger): Promise<Connection> {
  const servers = hideCredentials(String(config.nats.servers));
  const since = performance.now();
  const timer = setInterval(
    () => logger.warn({ servers, waitedMs: Math.round(performance.now() - since) }, 'nats:waiting'),
    WAITING_LOG_MS,
  );
  try {
    const connection = await connect(config.nats);
    logger.info({ server: connection.server }, 'nats:connected');
    return connection;
  } finally {
    clearInterval(timer);
  }
}

/** Logs every change of the link and makes readiness follow it. */
export function followConnection(connection: Connection, logger: Logger, health: HealthRegistry): void {
  connection.onState((state) => {
    if (state === 'connected') logger.info({ server: connection.server, reconnects: connection.reconnects }, 'nats:reconnected');
    else if (state === 'reconnecting') logger.warn('nats:disconnected');
    else logger.info('nats:closed');
  });
  health.add('nats', () => ({ up: connection.state === 'connected', state: connection.state, reconnects: connection.reconnects }));
}
