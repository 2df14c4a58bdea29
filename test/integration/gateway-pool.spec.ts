import { startNatsServer } from '@jetlane/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GatewayFixture } from './gateway-fixture.js';

let gateway: GatewayFixture;
beforeAll(async () => {
  const env = { NATS_POOL_ENABLED: 'true', NATS_POOL_MIN_CONNECTIONS: '3', NATS_POOL_MAX_CONNECTIONS: '3' };
  gateway = await GatewayFixture.start(env, await startNatsServer({ monitorPort: 0 }));
});
afterAll(() => gateway.stop());

describe('a gateway with a pool of links', () => {
  it('enqueues over all of them, and reads over any', async () => {
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, i) => gateway.enqueue({ queue_name: 'default', task_type: 'noop', task_data: { i } })),
    );
    expect(answers.map(({ status }) => status).filter((status) => status !== 202)).toEqual([]);
    const links = (await (await fetch(`${gateway.nats.monitorUrl}/connz`)).json()) as { connections: { name: string; in_msgs: number }[] };
    const pooled = links.connections.filter(({ name }) => /^jetlane-gateway-\d$/.test(name));
    expect(pooled.map(({ name }) => name).sort()).toEqual(['jetlane-gateway-1', 'jetlane-gateway-2', 'jetlane-gateway-3']);
    expect(pooled.every(({ in_msgs }) => in_msgs > 10)).toBe(true);
    const status = await gateway.get(`/api/queue/status/${String(answers[0]!.body.task_id)}`);
    expect(status.body.state).toBe('queued');
  });
});
