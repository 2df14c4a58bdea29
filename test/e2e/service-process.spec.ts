import { createServer } from 'node:http';
import { freePort, type NatsServer, startNatsServer, waitUntil } from '@jetlane/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ChildService } from './child-service.js';

const ANALYTICS = new URL('../../apps/analytics/dist/main.js', import.meta.url).pathname;
const SLOW = new URL('./slow-service.mjs', import.meta.url).pathname;

const children: ServiceProcess[] = [];

/** A service that ends with its test. */
class ServiceProcess extends ChildService {
  constructor(script: string, env: Record<string, string>) {
    super(script, env);
    children.push(this);
  }

  async logs(event: string, timeoutMs = 20_000): Promise<void> {
    expect(await waitUntil(() => this.events.includes(event), { timeoutMs, everyMs: 20 }), `${event} in: ${this.output}`).toBe(true);
  }
}

const statusOf = async (url: string): Promise<number> => (await fetch(url).catch(() => undefined))?.status ?? 0;

describe('a service as a process', () => {
  let nats: NatsServer;
  beforeAll(async () => {
    nats = await startNatsServer();
  });
  afterAll(() => nats.stop());
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('starts with a handful of lines and stops cleanly on %s', async (signal) => {
    const service = new ServiceProcess(ANALYTICS, { NATS_URL: nats.url, ANALYTICS_PORT: '0' });
    await service.logs('service:started');
    service.kill(signal);
    expect(await service.exited).toBe(0);
    expect(service.events).toEqual([
      'nats:connected',
      'analytics:caught-up',
      'service:started',
      'service:stopping',
      'nats:closed',
      'service:stopped',
    ]);
    expect(service.output.split('\n').filter((line) => line !== '' && !line.startsWith('{'))).toEqual([]);
  });

  it('is alive and not ready while it waits for NATS, says so, and works once NATS is there', async () => {
    const [natsPort, port] = [await freePort(), await freePort()];
    const service = new ServiceProcess(ANALYTICS, { NATS_URL: `nats://127.0.0.1:${natsPort}`, ANALYTICS_PORT: String(port) });
    const base = `http://127.0.0.1:${port}`;
    await service.logs('nats:waiting');
    expect(await statusOf(`${base}/health/live`)).toBe(200);
    expect(await statusOf(`${base}/health/ready`)).toBe(503);
    const late = await startNatsServer({ port: natsPort });
    try {
      await service.logs('service:started');
      expect(await statusOf(`${base}/health/ready`)).toBe(200);
    } finally {
      service.kill('SIGTERM');
      expect(await service.exited).toBe(0);
      await late.stop();
    }
  });

  it('stops at once while it still waits for NATS', async () => {
    const service = new ServiceProcess(ANALYTICS, { NATS_URL: `nats://127.0.0.1:${await freePort()}`, ANALYTICS_PORT: '0' });
    await service.logs('nats:waiting');
    service.kill('SIGTERM');
    expect(await service.exited).toBe(0);
  });

  it('tells a taken port in one line: which port, which variable', async () => {
    const squatter = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => squatter.once('listening', resolve));
    const { port } = squatter.address() as { port: number };
    const service = new ServiceProcess(ANALYTICS, { NATS_URL: nats.url, ANALYTICS_PORT: String(port) });
    expect(await service.exited).toBe(1);
    squatter.close();
    expect(service.output.trim().split('\n')).toHaveLength(1);
    expect(JSON.parse(service.output)).toMatchObject({
      msg: 'service:failed',
      code: 'EADDRINUSE',
      reason: expect.stringMatching(new RegExp(`port ${port} .*ANALYTICS_PORT`)),
    });
  });

  it('tells a wrong environment in one line: every variable', async () => {
    const service = new ServiceProcess(ANALYTICS, { ANALYTICS_PORT: 'abc', LOG_LEVEL: 'loud', LOG_FORMAT: 'xml' });
    expect(await service.exited).toBe(1);
    expect(service.output.trim().split('\n')).toHaveLength(1);
    for (const variable of ['ANALYTICS_PORT', 'LOG_LEVEL', 'LOG_FORMAT']) expect(service.output).toContain(variable);
  });

  const forEver = { TRIAL_PORT: '0', TRIAL_STOP_MS: '600000', TRIAL_DEADLINE_MS: '600000' };

  it('ends at once on a second signal', async () => {
    const service = new ServiceProcess(SLOW, { NATS_URL: nats.url, ...forEver });
    await service.logs('service:started');
    service.kill('SIGTERM');
    await service.logs('service:stopping');
    service.kill('SIGINT');
    expect(await service.exited).toBe(130);
  });

  it('on a second signal cuts short what can be, and ends in good order', async () => {
    const service = new ServiceProcess(SLOW, { NATS_URL: nats.url, ...forEver, TRIAL_ABORT: 'heeds' });
    await service.logs('service:started');
    service.kill('SIGTERM');
    await service.logs('service:stopping');
    service.kill('SIGTERM');
    expect(await service.exited).toBe(0);
    expect(service.events.slice(-4)).toEqual(['service:stopping', 'service:aborting', 'nats:closed', 'service:stopped']);
  });

  it('does not wait for a third if that does not help, but heeds it', async () => {
    const [stubborn, killed] = ['stubborn', 'killed'].map(
      () => new ServiceProcess(SLOW, { NATS_URL: nats.url, ...forEver, TRIAL_ABORT: 'ignores' }),
    );
    for (const service of [stubborn!, killed!]) {
      await service.logs('service:started');
      service.kill('SIGTERM');
      await service.logs('service:stopping');
      service.kill('SIGTERM');
      await service.logs('service:aborting');
    }
    killed!.kill('SIGTERM');
    expect([await stubborn!.exited, await killed!.exited]).toEqual([143, 143]);
  });

  it('ends with code 1 when it cannot stop by its deadline', async () => {
    const service = new ServiceProcess(SLOW, { NATS_URL: nats.url, TRIAL_PORT: '0', TRIAL_STOP_MS: '600000', TRIAL_DEADLINE_MS: '200' });
    await service.logs('service:started');
    service.kill('SIGTERM');
    expect(await service.exited).toBe(1);
    expect(service.events).toContain('service:stop-timeout');
  });
});
