import { TaskClient } from '@jetlane/client';
import { type RunningService, type ServiceContext, startService } from '@jetlane/nestjs/service';
import { type NatsServer, type PostgresServer, startNatsServer, startPostgres, waitUntil } from '@jetlane/testing';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readWorkerConfig, type WorkerHostConfig } from '../../apps/worker/src/config.js';
import { WorkerHost } from '../../apps/worker/src/worker-host.js';
import { emptyDatabase } from './postgres-fixture.js';

let nats: NatsServer;
let postgres: PostgresServer;
const services: RunningService<WorkerHostConfig>[] = [];
/** What the hosts logged. */
const logged: string[] = [];

beforeAll(async () => {
  [nats, postgres] = await Promise.all([startNatsServer(), startPostgres()]);
});
afterEach(async () => {
  await Promise.all(services.splice(0).map((service) => service.stop()));
});
afterAll(async () => {
  await Promise.all([nats.stop(), postgres.stop()]);
});

async function startHost(databaseUrl: string, namespace: string) {
  const env = { NATS_URL: nats.url, JETLANE_NAMESPACE: namespace, DATABASE_URL: databaseUrl, WORKER_PORT: '0' };
  const logger = pino({}, { write: (line: string) => logged.push(line) });
  const options = { config: readWorkerConfig(env), components: (context: ServiceContext<WorkerHostConfig>) => [new WorkerHost(context)] };
  const service = await startService<WorkerHostConfig>(options, logger);
  services.push(service);
  return { service, client: new TaskClient(service.context.connection) };
}

const purchase = (user_id: string, amount: number) => ({ queue: 'default', type: 'credit_purchase', data: { user_id, amount } });

describe('the worker host', () => {
  it('runs the tasks of all its queues and stores their results', async () => {
    const { db, url } = await emptyDatabase(postgres.url);
    const { client, service } = await startHost(url, 'host-all');
    const summary = await client.enqueueMany(
      Array.from({ length: 300 }, (_, i) => purchase(`u${i % 10}`, i)).filter(({ data }) => data.amount > 0),
    );
    expect(summary).toMatchObject({ accepted: 299, failed: 0 });
    for (const queue of ['high_priority', 'low_priority']) {
      const { id } = await client.enqueue(queue, { type: 'user_registration', data: { user_id: queue, initial_credits: 5 } });
      expect(await client.result(id, { timeout: '20s' })).toMatchObject({ state: 'completed', result: { balance: 5 } });
    }
    const counted = await waitUntil(async () => (await db.selectFrom('purchases').select('id').execute()).length === 299, {
      timeoutMs: 20_000,
    });
    expect(counted).toBeTruthy();
    const { id } = await client.enqueue('default', {
      type: 'find',
      data: { collection: 'users', filter: { id: 'u3' }, columns: ['balance'] },
    });
    const sum = Array.from({ length: 30 }, (_, i) => 10 * i + 3).reduce((a, b) => a + b);
    expect(await client.result(id, { timeout: '20s' })).toMatchObject({ result: { rows: [{ balance: sum }], more: false } });
    expect(await statusOf(service, 'ready')).toBe(200);
    await db.destroy();
  });

  it('makes an impossible task a dead letter at once, with what is wrong', async () => {
    const { db, url } = await emptyDatabase(postgres.url);
    const { client } = await startHost(url, 'host-dead');
    const { id } = await client.enqueue('default', { type: 'credit_purchase', data: { user_id: 'u', amount: -1 } });
    expect(await client.result(id, { timeout: '20s' })).toMatchObject({
      state: 'dead',
      attempt: 1,
      error: { message: expect.stringContaining('amount') },
    });
    await db.destroy();
  });

  it('waits for a database that is not there yet, and outlives one that restarts', async () => {
    const late = await startPostgres({ durable: true });
    await killAndWait(late);
    const starting = startHost(late.url, 'host-late');
    expect(await waitUntil(() => logged.some((line) => line.includes('database:awaited')), { timeoutMs: 30_000 })).toBe(true);
    await late.start();
    const { client, service } = await starting;
    const first = await client.enqueue('default', { type: 'credit_purchase', data: { user_id: 'u', amount: 1 } });
    expect(await client.result(first.id, { timeout: '20s' })).toMatchObject({ state: 'completed' });

    await killAndWait(late);
    expect(await statusOf(service, 'ready')).toBe(503);
    expect(await statusOf(service, 'live')).toBe(200);
    await late.start();
    expect(await waitUntil(async () => (await statusOf(service, 'ready')) === 200)).toBe(true);
    const second = await client.enqueue('default', { type: 'credit_purchase', data: { user_id: 'u', amount: 1 } });
    expect(await client.result(second.id, { timeout: '20s' })).toMatchObject({ state: 'completed', result: { balance: 2 } });
    await late.stop();
  });
});

const statusOf = async (service: RunningService<WorkerHostConfig>, probe: string) => (await fetch(`${service.url}/health/${probe}`)).status;

async function killAndWait(server: PostgresServer): Promise<void> {
  server.kill('SIGKILL');
  await server.exited;
}
