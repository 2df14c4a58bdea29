import { TaskClient } from '@jetlane/client';
import { type RunningService, startService } from '@jetlane/nestjs/service';
import { type NatsServer, type PostgresServer, startNatsServer, startPostgres } from '@jetlane/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readWorkerConfig, type WorkerHostConfig } from '../../apps/worker/src/config.js';
import { WorkerHost } from '../../apps/worker/src/worker-host.js';
import { loseRequests } from '../support/lost-pulls.js';
import { emptyDatabase } from './postgres-fixture.js';
import { eventually } from './services-fixture.js';

let nats: NatsServer;
let postgres: PostgresServer;
let service: RunningService<WorkerHostConfig>;
beforeAll(async () => {
  [nats, postgres] = await Promise.all([startNatsServer(), startPostgres()]);
});
afterAll(async () => {
  await service.stop();
  await Promise.all([nats.stop(), postgres.stop()]);
});

it('a worker host one of whose lanes stays stuck is not ready, says which and why, and ends its process', async () => {
  const { db, url } = await emptyDatabase(postgres.url);
  let ended = 0;
  const env = {
    NATS_URL: nats.url,
    DATABASE_URL: url,
    WORKER_PORT: '0',
    WORKER_QUEUES: 'default',
    WORKER_STUCK_EXIT: '5s',
    LOG_LEVEL: 'silent',
  };
  service = await startService<WorkerHostConfig>({
    config: readWorkerConfig(env),
    components: (context) => {
      loseRequests(context.connection, 'default', context.connection);
      return [new WorkerHost(context, () => ended++)];
    },
  });
  const ready = async () => {
    const answer = await fetch(`${service.url}/health/ready`);
    return { status: answer.status, text: await answer.text() };
  };
  expect((await ready()).status).toBe(200);
  const client = new TaskClient(service.context.connection);
  await client.enqueue('default', { type: 'credit_calculation', data: { user_id: 'u' } });
  await eventually('it is not ready', async () => (await ready()).status === 503);
  expect((await ready()).text).toMatch(/"queue":"default".*"problems":\["normal: 1 tasks wait, pulls are open/);
  expect((await fetch(`${service.url}/health/live`)).status).toBe(200);
  await eventually('it ends', () => ended > 0);
  await client.close();
  await db.destroy();
});
