import { randomBytes } from 'node:crypto';
import type { JetlaneOptions } from '@jetlane/nestjs';
import { type NatsServer, startNatsServer } from '../nats-server/server.js';
import { findLeaks } from './leaks.js';

let running: Promise<NatsServer> | undefined;

/** The throw-away nats-server that all tests of this process share; started by the first who asks. */
export function testServer(): Promise<NatsServer> {
  running ??= startNatsServer({ monitorPort: 0 }).catch((error: unknown) => {
    running = undefined;
    throw error;
  });
  return running;
}

/**
 * Options of an application under test: the shared server, a namespace that nobody else uses, and no workers until the test starts them
 * (role `producer`).
 */
export async function jetlaneTestOptions(overrides: JetlaneOptions = {}): Promise<JetlaneOptions> {
  const namespace = `t${randomBytes(6).toString('hex')}`;
  return { servers: (await testServer()).url, name: `test ${namespace}`, namespace, role: 'producer', shutdownTimeout: 0, ...overrides };
}

/**
 * Stops the shared server; for `afterAll` or a global teardown.
 * @throws Error that lists what the tests left open: connections, and consumers that belong to one process
 */
export async function stopTestServer(): Promise<void> {
  if (running === undefined) return;
  const server = await running;
  running = undefined;
  const leaks = await findLeaks(server);
  await server.stop();
  if (leaks.length > 0) throw new Error(`tests left open: ${leaks.join('; ')}; close every application with app.close()`);
}
